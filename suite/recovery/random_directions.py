"""The units' gradients in random directions of all parameters, where no few parameters tell the units apart.

`G v` for a direction `v` is the derivative of all losses along it: one pass, in which no gradient of a unit
is formed. It is had from two backward passes, `d/dw (∇θ Σ w_u ℓ_u · v)`, of which the inner one is shared by
all directions. Weights that explain the step's gradient in more directions than there are units explain it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from suite.loops.autograd import grad
from suite.machine.stages import begins
from suite.recovery.attempt import Attempt, Unfit
from suite.recovery.formed_rows import FormedRows
from suite.recovery.step import GradientByName

OVERSAMPLED = 1.5
"""How many directions there are for each unit: the condition of a random matrix of such a shape is small."""

MOST_DIRECTIONS = 1 << 12
"""Beyond, so many passes are not made."""

ALONG = "random directions"


def directions_of(
    attempt: Attempt, last: GradientByName | None
) -> tuple[FormedRows, GradientByName, GradientByName | None]:
    """The units' gradients in random directions, the step's, and the regulariser's.

    Raises:
        Unfit: They are too many, or the losses cannot be differentiated twice.
    """
    count = int(OVERSAMPLED * (attempt.units + (last is not None))) + 8
    if count > MOST_DIRECTIONS:
        raise Unfit
    begins(f"{attempt.units} units in {count} random directions, a pass for each")
    parameters = list(attempt.trained.values())
    found: list[list[Tensor]] = [[] for _ in range(count)]
    step, rest = [], []
    for piece in attempt.pieces:
        entries = attempt.read(piece)
        weights = torch.ones_like(entries, requires_grad=True)
        try:
            own = torch.autograd.grad(entries, parameters, weights, create_graph=True, allow_unused=True)
            for index in range(count):
                direction = _direction(attempt, index)
                used = [
                    (g, v) for g, v in zip(own, direction, strict=True) if g is not None and g.requires_grad
                ]
                along = sum(((g * v).sum() for g, v in used), weights.sum() * 0.0)
                (slope,) = grad(along, [weights], keep_graph=True)
                found[index].append(slope.detach())
                if piece.start == 0:
                    step.append(_inner(attempt.gradient, direction))
                    rest += [] if last is None else [_inner(last, direction)]
        except RuntimeError as error:
            raise Unfit from error
    rows = torch.stack([torch.cat(parts) for parts in found], dim=1)
    side = {**attempt.gradient, ALONG: torch.stack(step).to(rows)}
    penalty = None if last is None else {**last, ALONG: torch.stack(rest).to(rows)}
    return FormedRows({ALONG: rows}), side, penalty


def _direction(attempt: Attempt, index: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(index)
    return [
        torch.randn(p.shape, generator=generator, dtype=p.dtype, device="cpu").to(p.device)
        for p in attempt.trained.values()
    ]


def _inner(gradient: GradientByName, direction: list[Tensor]) -> Tensor:
    parts = [(g.double() * v.double()).sum() for g, v in zip(gradient.values(), direction, strict=True)]
    return torch.stack(parts).sum()
