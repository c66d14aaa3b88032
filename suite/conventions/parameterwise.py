"""What weighs the units differently from one parameter to the next: no column of coefficients gives it.

Clipping tensor by tensor, and factors on some parameters, are one weighting for each *block* of parameters:
its coefficients follow from the Gram matrix of the block alone. Clipping entry by entry is not even that.
They are no conventions of the registry: a run cannot tabulate them, no rate turns one into a weighting.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from suite.algebra.gram import clip_factor, norm
from suite.algebra.units import per
from suite.registry import Registry

if TYPE_CHECKING:
    from suite.algebra.gram import Gram
    from suite.algebra.units import Column, Units
    from suite.loops.loop import Gradient, Loop


@dataclass(frozen=True)
class Parameterwise:
    """A way to one gradient that treats parameters differently.

    Args:
        name: as people type it.
        summary: one line.
        note: what else is to know.
        formula: the reduced gradient.
        why: why it is no weighting of the units.
        law: what a scale of the gradient asks for, and how `gradsuite lr` is asked.
        used_by: who computes this.
        source: where that can be read.
        reference_loop: the literal loop, which leaves the gradient in `.grad`.
        blocks: the names of the parameters that share one weighting, or None where no block has one.
        column: the coefficients on one block, from the units, the block's Gram matrix, and its names.
    """

    name: str
    summary: str
    note: str
    formula: str
    why: str
    law: str
    used_by: str
    source: str
    reference_loop: Callable[[Loop], None]
    blocks: Callable[[list[str]], list[list[str]]] | None
    column: Callable[[Units, Gram, list[str]], Column]

    def card(self) -> dict[str, Any]:
        """All that a person may want to know of it, for `gradsuite show`."""
        return {
            "parameterwise": self.name,
            "summary": self.summary,
            "formula": self.formula,
            "no weighting": self.why,
            "law": self.law,
            "used by": self.used_by,
            "source": self.source,
            "note": self.note,
        }


parameterwise: Registry[Parameterwise] = Registry("parameterwise convention")

_CLIP_LAW = "the threshold goes with the gradient, C·s: gradsuite lr --clip {} --max-norm C"
_FACTOR_LAW = "none: a factor that both sides have cancels; give these parameters a rate of their own"


def _register(
    *,
    reference_loop: Callable[[Loop], None],
    formula: str,
    why: str,
    law: str,
    used_by: str,
    source: str,
    blocks: Callable[[list[str]], list[list[str]]] | None,
) -> Callable[[Callable[[Units, Gram, list[str]], Column]], Parameterwise]:
    def register(column: Callable[[Units, Gram, list[str]], Column]) -> Parameterwise:
        summary, _, note = inspect.cleandoc(column.__doc__ or "").partition("\n\n")
        name = column.__name__.replace("_", "-")
        texts = (" ".join(summary.split()), " ".join(note.split()))
        return parameterwise.add(
            Parameterwise(name, *texts, formula, why, law, used_by, source, reference_loop, blocks, column)
        )

    return register


def _names(loop: Loop) -> list[str]:
    return [name for name, p in loop.model.named_parameters() if p.requires_grad]


def _mean_gradient(loop: Loop) -> Gradient:
    return loop.gradient(loop.losses().sum() / loop.n + loop.regulariser())


def _is_bias(name: str) -> bool:
    return name.rpartition(".")[2] == "bias"


def each_tensor(names: list[str]) -> list[list[str]]:
    """Each parameter by itself."""
    return [[name] for name in names]


def biases_and_others(names: list[str]) -> list[list[str]]:
    """The two groups that optimizers are often given: biases, and all else."""
    groups = [[n for n in names if not _is_bias(n)], [n for n in names if _is_bias(n)]]
    return [group for group in groups if group]


def clip_each_tensor_loop(loop: Loop) -> None:
    loop.accumulate([loop.clip([part])[0] for part in _mean_gradient(loop)])


@_register(
    reference_loop=clip_each_tensor_loop,
    formula="min(1, C/‖ḡ_p‖) ḡ_p for each tensor p, ḡ = (1/n) Σ_u g_u",
    why="each tensor has a clip factor of its own",
    law=_CLIP_LAW.format("tensor"),
    used_by="DINO; Keras clipnorm; DQN in baselines; detectron2 CLIP_GRADIENTS.CLIP_TYPE norm",
    source="facebookresearch/dino@7c446df, utils.py, clip_gradients; keras/src/optimizers/base_optimizer.py; "
    "facebookresearch/detectron2@02b5c4e, detectron2/solver/build.py, maybe_add_gradient_clipping",
    blocks=each_tensor,
)
def clip_each_tensor(units: Units, gram: Gram, names: list[str]) -> Column:  # noqa: ARG001
    """The mean over samples, each parameter tensor clipped to C by its own norm.

    `clip_grad_norm_` over all parameters is another step: another direction wherever a tensor is clipped.
    """
    return _clipped_block(units, gram)


def clip_each_group_loop(loop: Loop) -> None:
    gradient = dict(zip(_names(loop), _mean_gradient(loop), strict=True))
    for group in biases_and_others(list(gradient)):
        gradient |= zip(group, loop.clip([gradient[name] for name in group]), strict=True)
    loop.accumulate(list(gradient.values()))


@_register(
    reference_loop=clip_each_group_loop,
    formula="min(1, C/‖ḡ_G‖) ḡ_G for each group G of parameters, ḡ = (1/n) Σ_u g_u",
    why="each group has a clip factor of its own",
    law=_CLIP_LAW.format("group"),
    used_by='loops with `for group in optimizer.param_groups: clip_grad_norm_(group["params"], C)`',
    source="torch.nn.utils.clip_grad_norm_, called once a group",
    blocks=biases_and_others,
)
def clip_each_group(units: Units, gram: Gram, names: list[str]) -> Column:  # noqa: ARG001
    """The mean over samples, each group of parameters clipped to C by its own norm.

    The groups of the reference loop are biases and all else; a loop of yours has its optimizer's.
    """
    return _clipped_block(units, gram)


def clip_each_entry_loop(loop: Loop) -> None:
    threshold = loop.units.require("max_norm")
    loop.accumulate([part.clamp(-threshold, threshold) for part in _mean_gradient(loop)])


@_register(
    reference_loop=clip_each_entry_loop,
    formula="max(−C, min(C, ḡ_j)) for each entry j, ḡ = (1/n) Σ_u g_u",
    why="each entry has a factor of its own: on no block of parameters are units weighted",
    law=_CLIP_LAW.format("value"),
    used_by="clip_grad_value_ (PyTorch), clipvalue (Keras); GraphSAGE (±5), GloVe (±100, each pair)",
    source="torch/nn/utils/clip_grad.py; keras/src/optimizers/base_optimizer.py; "
    "stanfordnlp/GloVe@52f7dbc, src/glove.c, glove_thread",
    blocks=None,
)
def clip_each_entry(units: Units, gram: Gram, names: list[str]) -> Column:  # noqa: ARG001
    """The mean over samples, each entry bounded by ±C.

    The coefficients are those of the mean, which it is while no entry is bounded.
    """
    return units.column(per(units.n))


def some_parameters_over_ranks_loop(loop: Loop) -> None:
    share = 1 / loop.units.world_size
    pairs = zip(_names(loop), _mean_gradient(loop), strict=True)
    loop.accumulate([part if _is_bias(name) else share * part for name, part in pairs])


@_register(
    reference_loop=some_parameters_over_ranks_loop,
    formula="(1/S) ḡ_p for some tensors p and ḡ_p for the others, ḡ = (1/n) Σ_u g_u, S ranks",
    why="the factor 1/S is on some parameters only",
    law=_FACTOR_LAW,
    used_by="open_clip by default: the features of other ranks carry no gradient, logit_scale has its whole",
    source="mlfoundations/open_clip@89fb801, src/open_clip/loss.py, gather_features and ClipLoss",
    blocks=biases_and_others,
)
def some_parameters_over_ranks(units: Units, gram: Gram, names: list[str]) -> Column:  # noqa: ARG001
    """The mean over samples, divided by the number of ranks for some parameters only.

    Each rank differentiates the loss of the whole batch through its own features alone, and the ranks are
    averaged: towers get 1/S, what all ranks share gets all. In the reference loop biases stand for the
    latter. With gather_with_grad=True and local_loss=True nothing is divided.
    """
    share = 1.0 if _is_bias(names[0]) else 1 / units.world_size
    return units.column(share * per(units.n), regulariser=share)


def biases_twice_loop(loop: Loop) -> None:
    pairs = zip(_names(loop), _mean_gradient(loop), strict=True)
    loop.accumulate([2 * part if _is_bias(name) else part for name, part in pairs])


@_register(
    reference_loop=biases_twice_loop,
    formula="2 ḡ_p for biases p and ḡ_p for the others, ḡ = (1/n) Σ_u g_u",
    why="the factor 2 is on biases only",
    law=_FACTOR_LAW,
    used_by="Caffe's lr_mult: 2 (Faster R-CNN, AlexNet's prototxt); Detectron, no weight decay on them",
    source="facebookresearch/Detectron@04155a0, detectron/modeling/optimizer.py, "
    "add_single_gpu_param_update_ops; caffe/src/caffe/solvers/sgd_solver.cpp, ComputeUpdateValue",
    blocks=biases_and_others,
)
def biases_twice(units: Units, gram: Gram, names: list[str]) -> Column:  # noqa: ARG001
    """The mean over samples, twice that for biases: a rate of their own, twice the others'.

    In PyTorch: a group of the biases with `lr=2*lr` (and `weight_decay=0`, as in Detectron).
    """
    factor = 2.0 if _is_bias(names[0]) else 1.0
    return units.column(factor * per(units.n), regulariser=factor)


def _clipped_block(units: Units, gram: Gram) -> Column:
    column = units.column(per(units.n))
    return column * clip_factor(norm(gram, column), units.require("max_norm"), units.added_to_norm)
