"""Which registered convention has these weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from suite.conventions import Convention, conventions
from suite.gram import Gram
from suite.recovery.solve import Matrix, Solution
from suite.units import Column, Units

LARGEST = 64
"""A scale is simple where it is a quotient of whole numbers up to this; others look like clipping."""


@dataclass(frozen=True)
class Match:
    """A convention whose gradient on this batch is the step's, up to a scale.

    Args:
        convention: the convention.
        scale: gradient of the step / gradient of the convention.
        column: `[units]` its coefficients.
    """

    convention: Convention
    scale: float
    column: Column

    @property
    def simplicity(self) -> int | None:
        """0 for scale 1, `p + q` for the scale p/q, None for no simple number."""
        return simplicity(self.scale)


def applying(units: Units, gram: Gram) -> list[tuple[Convention, Column]]:
    """The conventions that apply to `units`, with their coefficients, in the order of the registry."""
    return [
        (convention, convention.coefficients(units, gram))
        for convention in conventions
        if convention.missing(units) is None
    ]


def matches(matrix: Matrix, solution: Solution, columns: Iterable[tuple[Convention, Column]]) -> list[Match]:
    """The conventions whose coefficients these weights are, the plainest first.

    The weights' own gradient must be the convention's within the error bound, as it stands or times a
    scale. Plainest is: scale 1, then the simplest scale, `mean` where no scale is simple; conventions
    before faults; the order of the registry.
    """
    explained = matrix @ solution.weights
    found = []
    for convention, column in columns:
        gradient = matrix @ column
        square = float(gradient @ gradient)
        if square == 0.0:
            continue
        scale = float(gradient @ explained) / square
        slack = solution.radius + solution.rounding
        apart = float(np.linalg.norm(explained - gradient))
        if apart <= slack:
            found.append(Match(convention, 1.0, column))
        elif scale != 0.0 and float(np.linalg.norm(explained - scale * gradient)) <= slack:
            found.append(Match(convention, _whole(scale, slack / square**0.5), column))
    order = list(conventions)

    def plainness(match: Match) -> tuple[float, bool, bool, int]:
        cost = match.simplicity
        fault = match.convention.family == "faults"
        plain = cost is not None or match.convention.name == "mean"
        return (np.inf if cost is None else cost, fault, not plain, order.index(match.convention))

    return sorted(found, key=plainness)


def coinciding(found: list[Match]) -> list[Match]:
    """Of the `found` matches those that are the first one's gradient, at the same scale."""
    return [m for m in found[1:] if np.isclose(m.scale, found[0].scale, rtol=1e-9, atol=0.0)]


def simplicity(scale: float) -> int | None:
    """See `Match.simplicity`."""
    near = Fraction(scale).limit_denominator(LARGEST)
    if near == 1:
        return 0
    if not near or abs(near.numerator) > LARGEST or float(near) != scale:
        return None
    return abs(near.numerator) + near.denominator


def _whole(scale: float, error: float) -> float:
    """The simple number that `scale` is within its error, or else `scale` itself."""
    near = Fraction(scale).limit_denominator(LARGEST)
    return float(near) if near and abs(float(near) - scale) <= error else scale
