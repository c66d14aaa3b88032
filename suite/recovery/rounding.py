"""How far rounding takes a gradient from what its weights say, measured: not a guess at an error bound.

The losses, weighted as the step weights them, are differentiated once in the step's own formats. The
distance of that gradient from the exact one is what rounding did in one pass. It is a sample, not a bound:
roundings have random signs, and their sum over `P` parameters keeps its size from pass to pass. Four times
it is allowed, besides two roundings of each number for the factors that a step multiplies by (1/n, 1/K),
and those of a sum of `K` gradients in a narrow `.grad`: `√K` of them, or `K` where addends are so small
that they begin to vanish.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from suite.algebra.discrepancy import EPS
from suite.algebra.units import Column
from suite.engines.unit_gradients import products
from suite.loops.autograd import grad
from suite.loops.norms import norm_of_all
from suite.recovery.formats import Formats
from suite.recovery.in_float64 import UnitProblem
from suite.recovery.solve import Root
from suite.recovery.step import GradientByName

MARGIN = 4
ROUNDINGS = 16  # of the machine epsilon: the least error that a gradient is trusted to have
PER_NUMBER = 2  # roundings of each number, in units of the machine epsilon
BLIND = 0.5
"""A tolerance from here on tells a gradient neither from nothing nor from twice as much."""
LOSS_SCALES = (1.0, 2.0**12)
"""float16 loses small gradients unless the loss is scaled. A step may or may not do that: both count."""


@dataclass(frozen=True, eq=False)
class Rounding:
    """What rounding does to the gradient of one weighting.

    Args:
        size: the norm of the exact gradient.
        tolerances: relative to it, the smallest first; one for each loss scale.
        along: `[units]` inner products of the measured error with the units' gradients.
        spread: over how many numbers the gradient is spread: `(Σg²)² / Σg⁴`.
        epsilon: of the narrowest format.
    """

    size: float
    tolerances: tuple[float, ...]
    along: Column
    spread: float
    epsilon: float

    @property
    def tolerance(self) -> float:
        """The largest with which anything can be told, or the smallest of all."""
        return max((t for t in self.tolerances if t < BLIND), default=self.tolerances[0])

    @property
    def blind(self) -> bool:
        """Whether a gradient cannot be told from twice it."""
        return self.tolerance >= BLIND

    def allowed(self, column: Column, rivals: Sequence[Column], root: Root) -> float:
        """The norm that rounding may leave of `g − Gᵀc`; 0 where that lies in the direction of a rival.

        A norm says little over many parameters: a sample that is lost among thousands hides in the
        rounding of all. But rounding is spread over all directions, and the lost sample lies in one.
        """
        own = root.gradients @ column
        rest = root.side - own
        for rival in rivals:
            step = rival - column
            gradient = root.gradients @ step
            length = float(np.linalg.norm(gradient))
            if length <= EPS**0.5 * self.size:
                continue
            if abs(float(gradient @ rest)) / length > self.towards(step, length, float(gradient @ own)):
                return 0.0
        return self.tolerance * self.size

    def towards(self, step: Column, length: float, inner: float) -> float:
        """How far rounding can take the gradient along one direction.

        Args:
            step: `[units]` the weights whose gradient the direction is.
            length: the norm of that gradient.
            inner: its inner product with the exact gradient.
        """
        measured = abs(float(step @ self.along)) / length
        random = self.tolerance * self.size / math.sqrt(self.spread)
        factors = PER_NUMBER * self.epsilon * abs(inner) / length
        return MARGIN * (measured + random) + factors


def measure_rounding(
    problem: UnitProblem,
    found: Formats,
    column: Column,
    exact: GradientByName,
    blocks: Mapping[str, torch.Tensor],
) -> Rounding | None:
    """What rounding does to the gradient that weights the units by `column`.

    Args:
        problem: the losses in the step's own formats.
        found: those formats.
        column: `[units]` the weights.
        exact: their gradient, by parameter name.
        blocks: by parameter name, `[units, *parameter.shape]`.

    Returns:
        None where the gradient is zero, or the losses cannot be computed in these formats.
    """
    size = _norm(exact)
    if size == 0.0:
        return None
    scales = LOSS_SCALES if found.dtype == torch.float16 else LOSS_SCALES[:1]
    errors = [error for scale in scales if (error := _error(problem, column, exact, scale)) is not None]
    if not errors:
        return None
    sums = found.sums if found.sums * 4 * found.epsilon > 1 else math.sqrt(found.sums)
    more = found.epsilon * (PER_NUMBER + 0.5 * (sums - 1))
    tolerances = sorted(MARGIN * _norm(error) / size + more for error in errors)
    error = min(errors, key=_norm)
    along = products(blocks, {name: part.unsqueeze(0).to(blocks[name]) for name, part in error.items()})
    squares = torch.cat([part.double().flatten().square().cpu() for part in exact.values()])
    spread = float(squares.sum().square() / squares.square().sum())
    return Rounding(size, tuple(tolerances), along[:, 0], spread, found.epsilon)


def _error(
    problem: UnitProblem, column: Column, exact: GradientByName, scale: float
) -> GradientByName | None:
    """The gradient in the step's formats minus the exact one; None where it overflows."""
    gradient = weighted(problem, column, scale)
    rounded = dict(zip(exact, gradient, strict=True))
    error = {name: rounded[name].double() / scale - exact[name].double() for name in exact}
    return error if all(bool(torch.isfinite(part).all()) for part in error.values()) else None


def weighted(problem: UnitProblem, column: Column, scale: float = 1.0) -> list[torch.Tensor]:
    """By parameter, autograd's gradient of the losses weighted by `column`."""
    with torch.enable_grad():
        trained = [p for p in problem.model.parameters() if p.requires_grad]
        entries = problem.losses(problem.model, problem.batch).flatten()
        loss = scale * (torch.as_tensor(column[: len(entries)]).to(entries) * entries).sum()
        if problem.regulariser is not None:
            loss = loss + scale * float(column[-1]) * problem.regulariser(problem.model)
        return grad(loss, trained)


def _norm(gradient: GradientByName) -> float:
    return norm_of_all(gradient.values())
