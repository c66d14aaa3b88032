"""The gradient that a card promises, and whether a step leaves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from suite.algebra.formula import Formula
from suite.algebra.gram import Gram
from suite.algebra.quantities import Quantities
from suite.algebra.symbols import CLIP_MICROBATCH, CLIP_RANK, CLIP_UNIT
from suite.algebra.units import Column, Units
from suite.conventions import conventions
from suite.loops.batch import Batch
from suite.papers.paper import Paper
from suite.replication.step import PaperStep, selected

BATCHES = 3
AGREES = 2.0**-26
"""Half the digits of float64, relative: far above what summing in another order leaves."""
WHOLE = ("all", "tensor", "entry")
"""What is clipped after everything has been added up."""
CLIP_FACTORS = {
    "unit": Formula.parse(CLIP_UNIT),
    "micro-batch": Formula.parse(CLIP_MICROBATCH),
    "rank": Formula.parse(CLIP_RANK),
}
"""What multiplies the weights where parts of a batch are clipped."""
UNREACHED = 1e30
"""A threshold that no norm reaches, and that can be divided by itself."""
TORCH_NORM_ADDS = 1e-6
"""What torch's `clip_grad_norm_` adds to a norm before it divides."""


def gradient_complaints(paper: Paper, step: PaperStep) -> list[str]:
    """What the card says of the gradient that its step contradicts; empty where nothing."""
    found = []
    missing = conventions[paper.convention].missing(_units(step.batch(0)[1], paper))
    if missing is not None:
        return [f"{paper.convention} does not apply to its step: {missing}"]
    for number in range(1 if paper.moving else BATCHES):
        model = step.model()
        batch, units = step.batch(number)
        free = {} if step.max_norm is None else {"max_norm": UNREACHED}
        left = step.gradient(model, batch, **free)
        distance = relative(left, card_gradient(paper, step, model, batch, units, UNREACHED))
        if not distance <= AGREES:  # nan does not
            found.append(f"batch {number}: the step's gradient is {distance:.2g} away from {paper.weights}")
    return found or _clip_complaints(paper, step)


def _clip_complaints(paper: Paper, step: PaperStep) -> list[str]:
    """The same for clipping, at a threshold that binds on the step's small model."""
    if (paper.max_norm is None) != (step.max_norm is None):
        who = "the step" if paper.max_norm is None else "the card"
        return [f"{who} clips, the other does not"]
    if step.max_norm is None:
        return []
    if step.max_norm != paper.max_norm:
        return [f"the step clips at {step.max_norm:g}, the card at {paper.max_norm:g}"]
    model = step.model()
    batch, units = step.batch(0)
    whole = card_gradient(paper, step, model, batch, units, UNREACHED)
    threshold = 0.4 * size_clipped(whole, paper.clip_over)
    left = step.gradient(model, batch, max_norm=threshold)
    distance = relative(left, card_gradient(paper, step, model, batch, units, threshold))
    if not distance <= AGREES + TORCH_NORM_ADDS / threshold:
        return [f"clipped, the step's gradient is {distance:.2g} away from {paper.clipping}"]
    return []


def card_gradient(
    paper: Paper, step: PaperStep, model: nn.Module, batch: Batch, units: Units, max_norm: float
) -> list[Tensor]:
    """The gradient that the card promises on this batch, parameter by parameter, clipped at `max_norm`."""
    losses = step.built.losses(model, batch).reshape(-1)
    parameters = list(model.parameters())
    column = card_coefficients(paper, _units(units, paper, max_norm), losses, parameters)
    total = torch.as_tensor(column[units.data]) @ losses
    if units.regulariser:
        assert step.built.regulariser is not None  # noqa: S101  its unit comes from it
        total = total + float(column[-1]) * step.built.regulariser(model)
    gradient = list(torch.autograd.grad(total, parameters, allow_unused=True))
    gradient = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradient, strict=True)]
    for group in paper.groups:
        names = selected(model, group.select)
        for place, (name, _) in enumerate(model.named_parameters()):
            if name in names:
                gradient[place] = group.gradient_factor * gradient[place]
    if paper.clip_over not in WHOLE:
        return gradient  # its weights hold the clip factors
    return clipped(gradient, paper.clip_over, max_norm) if paper.max_norm is not None else gradient


def card_coefficients(paper: Paper, units: Units, losses: Tensor, parameters: Sequence[Tensor]) -> Column:
    """`[units]` the weights that the card promises: of its formula, or else of its convention."""
    if paper.moving is not None:
        start, decay = paper.moving
        return units.column(1.0 / (decay * start + (1 - decay) * float(units.total()[0])))
    convention = conventions[paper.convention]
    gram = np.eye(len(units))
    if convention.uses_gram or paper.clip_over not in WHOLE:
        gram = _gram(losses, parameters)
    known = Quantities.of(units, gram=gram)
    if paper.formula:
        column = units.column(known.column(Formula.parse(paper.formula)))
    else:
        column = convention.coefficients(units, gram)
    if paper.clip_over in CLIP_FACTORS and not convention.uses_gram:
        column = column * units.column(known.column(CLIP_FACTORS[paper.clip_over]))
    return column


def _gram(losses: Tensor, parameters: Sequence[Tensor]) -> Gram:
    """`[units, units]` the Gram matrix, a backward pass a unit."""
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, retain_graph=True)])
        for loss in losses
    ]
    matrix = torch.stack(rows).detach()
    return np.asarray((matrix @ matrix.T).numpy(), dtype=np.float64)


def clipped(gradient: list[Tensor], over: str, max_norm: float) -> list[Tensor]:
    """The gradient clipped: all of it together, each tensor, or each entry."""
    if over == "entry":
        return [g.clamp(-max_norm, max_norm) for g in gradient]
    if over == "tensor":
        return [g * min(1.0, max_norm / float(g.norm())) for g in gradient]
    return [g * min(1.0, max_norm / size_clipped(gradient, "all")) for g in gradient]


def size_clipped(gradient: Sequence[Tensor], over: str) -> float:
    """The largest size of what is clipped at a time."""
    if over == "entry":
        return max(float(g.abs().max()) for g in gradient)
    if over == "tensor":
        return max(float(g.norm()) for g in gradient)
    return float(torch.cat([g.flatten() for g in gradient]).norm())


def relative(left: Sequence[Tensor], right: Sequence[Tensor]) -> float:
    """`‖a − b‖/‖b‖`."""
    a, b = (torch.cat([g.flatten() for g in side]) for side in (left, right))
    return float((a - b).norm() / b.norm())


def _units(units: Units, paper: Paper, max_norm: float | None = None) -> Units:
    """The table with what the card knows beyond the batch: the clip threshold."""
    if paper.moving is not None:
        units = replace(units, moving_average=paper.moving[0])
    if paper.max_norm is None:
        return replace(units, max_norm=None)
    return replace(units, max_norm=paper.max_norm if max_norm is None else max_norm)
