"""What an engine is, and the engines that there are."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from suite.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from suite.engines.unit_gradients import UnitGradients
    from suite.loops.batch import Batch
    from suite.loops.loop import Losses


RAISED = "raised"
"""How the reason of an engine begins that came to grief."""


class Refused(Exception):  # noqa: N818  it is an answer, not a fault of the program
    """An engine cannot do a model, or does it wrongly: the message says where and by how much."""


@dataclass(frozen=True)
class Engine:
    """A way to compute the gradients of the units, sample by sample, part by part.

    Args:
        name: as people type it.
        summary: one line.
        note: what it cannot do.
        module: where its function `compute(model, batch, losses)` is; imported when it is first used.
        materialises: whether it holds units × parameters in memory.
        one_pass: whether it begins with one forward pass of the whole batch, whose graph it leaves to others.
    """

    name: str
    summary: str
    note: str
    module: str
    materialises: bool = True
    one_pass: bool = False

    def compute(
        self, model: nn.Module, batch: Batch, losses: Losses, memory: int | None = None
    ) -> UnitGradients:
        """The gradients of the units; `model` may be changed.

        Args:
            model: whose parameters are differentiated by.
            batch: of samples along the first axis.
            losses: the unreduced losses.
            memory: how many bytes there are, for an engine that can do with less than it would take.

        Raises:
            Refused: The engine cannot do this model.
        """
        bound = {} if self.materialises or memory is None else {"memory": memory}
        try:
            gradients = import_module(self.module).compute(model, batch, losses, **bound)
        except Refused:
            raise
        except (Exception, SystemExit) as error:
            lines = str(error).strip().splitlines() or [""]
            raise Refused(f"{RAISED} {type(error).__name__}: {lines[0]}") from error
        return gradients  # type: ignore[no-any-return]

    def card(self) -> dict[str, Any]:
        """All that a person may want to know of it, for `gradsuite show`."""
        return {"engine": self.name, "summary": self.summary, "note": self.note}


engines: Registry[Engine] = Registry("engine")
"""In the order in which they take over from each other."""

engines.add(
    Engine(
        name="opacus",
        summary="Opacus' GradSampleModule: hooks that form each layer's per-sample gradients.",
        note="Silently wrong for some models (permuted inputs of a convolution, weights used outside "
        "their module, padding_idx): the check that every engine has to pass finds them.",
        module="suite.engines.opacus",
        one_pass=True,
    )
)
engines.add(
    Engine(
        name="streaming",
        summary="Layer inputs and output gradients of one pass; no weight's gradient is ever formed.",
        note="Knows linear layers, convolutions, embeddings and normalisations; parameters that are used "
        "otherwise go through torch.func.",
        module="suite.engines.streaming",
        materialises=False,
        one_pass=True,
    )
)
engines.add(
    Engine(
        name="torch-func",
        summary="torch.func: vmap over samples of the gradient of one sample's losses.",
        note="Sees one sample at a time, so it cannot do losses that couple samples, nor code whose "
        "path depends on values.",
        module="suite.engines.torch_func",
    )
)
engines.add(
    Engine(
        name="loop",
        summary="One unit after the other: autograd of each entry of the unreduced losses.",
        note="Right by definition, and slow: one backward pass a unit.",
        module="suite.engines.loop",
    )
)
