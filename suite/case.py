"""What a case is, and the decorator that registers one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

from suite.errors import CaseError, UsageError, shortened, visible
from suite.registry import Registry

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Tensor, nn

BATCH_SIZES = (1, 2, 8, 32, 128)


@dataclass(frozen=True)
class Problem:
    """What a case is made of: a model, real data, and unreduced losses.

    Args:
        model: makes the model; its parameters come from torch's random state.
        data: the whole data set as one batch: a tensor, or a tuple, list or dict of tensors.
        losses: `losses(model, batch)` gives `[samples]`, or `[samples, parts]` where `parts` are
            named. Each entry is summed over its own elements, never averaged.
        columns: columns of the units table from a batch, each a scalar, `[samples]` or
            `[samples, parts]`: `elements`, `positions`, `weight`. Where losses are sums over several
            values a sample, state `elements`, even if they are 1: nothing else says what a mean over
            elements divides by.
        collate: what a batch goes through after its samples were chosen (trimming of padding).
        parts: the names of the parts.
        part_kind: whether the parts are `terms` of the loss or augmented `copies`.
        term_weight: λ, one weight a loss term.
        regulariser: `regulariser(model)` gives a scalar that is added once.
        max_elements: L_max, the longest sequence that the configuration allows.
        max_norm: C, the clip threshold.
        microbatches: K, into how many micro-batches a full batch is split.
        ranks: R, over how many ranks a full batch is spread.

    Examples:
        >>> import torch
        >>> import torch.nn.functional as F
        >>> from gradsuite import Problem
        >>> problem = Problem(
        ...     model=lambda: torch.nn.Linear(4, 1),
        ...     data=(torch.randn(500, 4), torch.randn(500, 1)),
        ...     losses=lambda model, batch: F.mse_loss(model(batch[0]), batch[1], reduction="none").sum(1),
        ... )
        >>> problem.losses(problem.model(), problem.data).shape  # [samples]
        torch.Size([500])
    """

    model: Callable[[], nn.Module]
    data: Any
    losses: Callable[[nn.Module, Any], Tensor]
    columns: Callable[[Any], Mapping[str, ArrayLike]] | None = None
    collate: Callable[[Any], Any] | None = None
    parts: tuple[str, ...] = ()
    part_kind: Literal["terms", "copies"] = "terms"
    term_weight: tuple[float, ...] | None = None
    regulariser: Callable[[nn.Module], Tensor] | None = None
    max_elements: int | None = None
    max_norm: float | None = 1.0
    microbatches: int = 4
    ranks: int = 2

    def __post_init__(self) -> None:
        """Say what is of another kind where it is written, not where it is used."""
        if hasattr(self.model, "parameters") and not isinstance(self.model, type):
            raise UsageError("Problem: model is a model that was made: give what makes it, lambda: …")
        for name in ("model", "losses", "columns", "collate", "regulariser"):
            value = getattr(self, name)
            if not callable(value) and (value is not None or name in ("model", "losses")):
                raise UsageError(f"Problem: {name} is {shortened(value)}: it must be a function")
        for name in ("microbatches", "ranks"):
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
                raise UsageError(
                    f"Problem: {name} is {shortened(value)}: a whole number of at least 1 is needed"
                )
        names = self.parts if isinstance(self.parts, tuple | list) else None
        if names is None or len(set(names)) < len(names):
            raise UsageError(f"Problem: parts are {shortened(self.parts)}: different names are needed")


@dataclass(frozen=True)
class Case:
    """A named problem and the batch sizes that it is measured at.

    Args:
        name: as people type it.
        family: the module that it is defined in.
        summary: one line.
        note: what else is to know; may be empty.
        dataset: which data, and where they come from.
        batch_sizes: the sizes of its full batches.
        build: makes the problem.
    """

    name: str
    family: str
    summary: str
    note: str
    dataset: str
    batch_sizes: tuple[int, ...]
    build: Callable[[], Problem]

    def problem(self) -> Problem:
        """Make the problem.

        Raises:
            CaseError: What the case's function returns is none.
        """
        made: object = self.build()
        if not isinstance(made, Problem):
            kind = "nothing" if made is None else f"a {type(made).__name__}"
            raise CaseError(f"its function returns {kind}: it must return a Problem")
        return made

    def card(self) -> dict[str, Any]:
        """All that a person may want to know of it, for `gradsuite show`."""
        return {
            "case": self.name,
            "family": self.family,
            "summary": self.summary,
            "data": self.dataset,
            "batch sizes": ", ".join(map(str, self.batch_sizes)),
            "note": self.note,
        }


cases: Registry[Case] = Registry("case")


def case(
    dataset: str, *, batch_sizes: tuple[int, ...] = BATCH_SIZES, name: str | None = None
) -> Callable[[Callable[[], Problem]], Case]:
    """Register the decorated function, which builds a `Problem`, as a case.

    Its name (underscores become hyphens) is the case's unless `name` is given; its docstring is the
    summary and the note.

    Args:
        dataset: which data, and where they come from, in one line.
        batch_sizes: the sizes of its full batches.
        name: as people type it.

    Returns:
        The decorator, which gives the registered `Case`.

    Raises:
        UsageError: A case of this name exists, or what is said of it is of the wrong kind.

    Examples:
        >>> from gradsuite import Problem, case
        >>> @case(dataset="my measurements: 500 samples, 4 features", name="my-example")
        ... def my_regression() -> Problem:
        ...     '''Squared error of a line through my measurements.'''
        >>> my_regression.name, my_regression.summary
        ('my-example', 'Squared error of a line through my measurements.')
    """
    if callable(dataset):
        raise UsageError("@case stands alone: write @case(dataset='which data, and where they come from')")
    texts = {"dataset": dataset} | ({} if name is None else {"name": name})
    for what, text in texts.items():
        if not isinstance(text, str) or not text.isprintable() or (what == "name" and not text.strip()):
            raise UsageError(f"@case: {what} is {text!r}: a text of one line is needed")
    sizes = batch_sizes if isinstance(batch_sizes, tuple | list | range) else ()
    if not sizes or not all(type(size) is int and size >= 1 for size in sizes):
        raise UsageError(f"@case: batch_sizes is {batch_sizes!r}: whole numbers of at least 1 are needed")

    def register(build: Callable[[], Problem]) -> Case:
        if not callable(build):
            raise UsageError(f"@case stands before {shortened(build)}: a function is needed")
        summary, _, note = inspect.cleandoc(build.__doc__ or "").partition("\n\n")
        return cases.add(
            Case(
                name=name or build.__name__.replace("_", "-"),
                family=build.__module__.rpartition(".")[2],
                summary=visible(" ".join(summary.split())),
                note=visible(" ".join(note.split())),
                dataset=dataset,
                batch_sizes=tuple(batch_sizes),
                build=build,
            )
        )

    return register
