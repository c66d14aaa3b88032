"""Which registered convention has these weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from suite.algebra.gram import Gram
from suite.algebra.units import Column, Units
from suite.conventions import (
    Convention,
    conventions,
    faults,  # noqa: F401  faults register themselves
)
from suite.recovery.correct_loops import TORCH_ADDS, Slack
from suite.recovery.solve import Root
from suite.recovery.suspects import Suspect, suspects

HALVES = ("half-mean", "half-sum")
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
    def is_fault(self) -> bool:
        """Whether the convention is a known mistake."""
        return self.convention.family == "faults"

    @property
    def simplicity(self) -> int | None:
        """0 for scale 1, `p + q` for the scale p/q, None for no simple number."""
        return simplicity(self.scale)


def applying(units: Units, gram: Gram) -> list[tuple[Convention, Column]]:
    """The conventions that apply to `units`, with their coefficients, in the order of the registry.

    Clipping is there as it is defined, and once more as PyTorch does it.
    """
    as_torch = replace(units, added_to_norm=TORCH_ADDS)
    return [
        (convention, convention.coefficients(table, gram))
        for convention in conventions
        if convention.missing(units) is None
        for table in ((units, as_torch) if "max_norm" in convention.needs else (units,))
    ]


def matches(
    root: Root,
    columns: Iterable[tuple[Convention, Column]],
    slack: Slack,
    units: Units,
    error: Slack | None = None,
) -> list[Match]:
    """The conventions whose gradient the gradient is, the plainest first.

    The gradient itself is asked, `‖g − s·Gᵀc‖`, not weights that were solved for: an ill-conditioned
    batch leaves those few digits. Plainest is: scale 1, then the simplest scale, `mean` where no scale is
    simple; the order of the registry. A known mistake is among them at scale 1 only, and only where
    nothing innocent has this gradient.

    Args:
        root: the units' gradients, and the gradient as the last column.
        columns: conventions with their coefficients.
        slack: the norm that rounding may leave of `g − Gᵀc`, for coefficients `c`.
        units: the units table.
        error: the norm by which rounding may make a gradient longer or shorter; `slack` if None.
    """
    found = matching(root, columns, slack, error)
    excused = {suspect.fault.name for suspect in suspected(root, found, slack, units)}
    return [m for m in found if not m.is_fault or (m.scale == 1.0 and m.convention.name not in excused)]


def suspected(root: Root, found: list[Match], slack: Slack, units: Units) -> list[Suspect]:
    """The known mistakes among `found` that something innocent explains too."""
    exact = [match for match in found if match.scale == 1.0]
    return suspects(
        [match.convention for match in exact if match.is_fault],
        [match.convention for match in exact if not match.is_fault],
        root, slack, units,
    )  # fmt: skip


def matching(
    root: Root, columns: Iterable[tuple[Convention, Column]], slack: Slack, error: Slack | None = None
) -> list[Match]:
    """The plainest match of each convention, known mistakes included."""
    matrix, side = root.gradients, root.side
    found = []
    for convention, column in columns:
        gradient = matrix @ column
        square = float(gradient @ gradient)
        scale = float(gradient @ side) / square if square > 0.0 else 0.0
        if scale == 0.0:
            continue
        if float(np.linalg.norm(side - gradient)) <= slack(column):
            found.append(Match(convention, 1.0, column))
            continue
        allowed = slack(scale * column)
        if float(np.linalg.norm(side - scale * gradient)) <= allowed:
            apart = allowed if error is None else error(scale * column)
            found.append(Match(convention, rounded(scale, apart / square**0.5), column))
    plainest: dict[str, Match] = {}
    for match in sorted(found, key=match_plainness):
        plainest.setdefault(match.convention.name, match)
    return list(plainest.values())


def match_plainness(match: Match) -> tuple[float, bool, bool, bool]:
    """What the plainest match has least of; the order of the registry decides between equals."""
    cost, name = match.simplicity, match.convention.name
    half = name in HALVES  # last: where a sample has two elements, their mean is half the mean over samples
    if cost and half:
        cost += LARGEST  # a quarter of the mean, rather than a half of half the mean
    known = cost is not None or name == "mean"
    return (np.inf if cost is None else cost, match.is_fault, half, not known)


def coinciding(found: list[Match]) -> list[Match]:
    """The first of the `found` matches, and those of the same scale: the same gradient on this batch."""
    return [m for m in found if np.isclose(m.scale, found[0].scale, rtol=1e-6, atol=0.0)]


def compared(root: Root, column: Column) -> tuple[float | None, float]:
    """The multiple of `column`'s gradient nearest to the gradient, and what remains, relative to it.

    The multiple is None where `column`'s gradient is zero.
    """
    gradient, side = root.gradients @ column, root.side
    square, size = float(gradient @ gradient), float(np.linalg.norm(side))
    if square == 0.0 or size == 0.0:
        return (None if square == 0.0 else 0.0), 1.0
    scale = float(gradient @ side) / square
    return rounded(scale, 1e-6 * abs(scale)), float(np.linalg.norm(side - scale * gradient)) / size


def simplicity(scale: float) -> int | None:
    """See `Match.simplicity`."""
    near = Fraction(scale).limit_denominator(LARGEST)
    if not near or abs(near.numerator) > LARGEST or float(near) != scale:
        return None
    return 0 if near == 1 else abs(near.numerator) + near.denominator


def rounded(scale: float, error: float) -> float:
    """The simple number that `scale` is within its error, or else `scale` itself.

    Only numbers that are rarer than the error is wide: within 1 % of anything there is some p/q.
    """
    turned = 0.0 < abs(scale) < 1.0
    value, wide = (1 / scale, error / scale**2) if turned else (scale, error)
    rare = LARGEST if wide <= 0.0 else max(1, min(LARGEST, int((8 * wide) ** -0.5)))
    near = Fraction(value).limit_denominator(rare)
    if not near or abs(near.numerator) > LARGEST:
        return scale
    simple = float(1 / near if turned else near)
    return simple if abs(simple - scale) <= error else scale
