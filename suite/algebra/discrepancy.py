"""The discrepancy of two conventions on one batch, split into scale and direction, and its verdict.

For columns `a` (the convention) and `b` (the reference) and the Gram matrix `K`:

- relative discrepancy `√(dᵀKd / bᵀKb)`, `d = a − b`;
- cosine `aᵀKb / √(aᵀKa · bᵀKb)`;
- scale `s = aᵀKb / bᵀKb`, the multiple of the reference nearest to the convention;
- residual `√(rᵀKr / aᵀKa)`, `r = a − max(s, 0)·b`: the part of the convention's gradient that no
  learning rate can remove. There is no negative one: where the two point away from each other, all of it.

The verdict is decided in float64 and by no tolerance chosen by hand: what counts as equal is what
rounding can do, and that is bounded from the number of operations, the machine epsilon and the
cancellation in the Gram matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from suite.algebra.gram import Gram, cancellation, inner, norm, unit_norms
from suite.algebra.units import Column

EPS = float(np.finfo(np.float64).eps)
ELSEWHERE = "of the gradient lies in another direction"
"""What is said of a residual where nothing else is to be said."""


class Verdict(Enum):
    """What separates a convention from the reference on a batch; the values are for people."""

    IDENTICAL = "identical"
    ROUNDING = "rounding"
    SCALE = "scale"
    DIRECTION = "direction"

    @property
    def proportional(self) -> bool:
        """Whether one gradient is a positive multiple of the other: a learning rate makes up for it."""
        return self is not Verdict.DIRECTION


@dataclass(frozen=True)
class Discrepancy:
    """How far a convention's gradient is from the reference's on one batch.

    Args:
        scale: the multiple of the reference nearest to the convention; None where the reference's
            gradient is zero.
        cosine: of the angle between them; None where one of them is zero.
        relative: the norm of their difference, relative to the reference; None where that is zero.
        residual: the norm of the convention's gradient minus `scale` times the reference (or nothing,
            where the scale is negative), relative to the convention; 0 where both are zero.
        verdict: what separates them.
        reason: what is to be said of a value that is None; empty where there is none.
    """

    scale: float | None
    cosine: float | None
    relative: float | None
    residual: float
    verdict: Verdict
    reason: str = ""


def compare(gram: Gram, a: Column, b: Column, *, precision: float = EPS) -> Discrepancy:
    """The discrepancy of the convention `a` from the reference `b`.

    Args:
        gram: `[units, units]` the Gram matrix `K`.
        a: `[units]` the convention's coefficients.
        b: `[units]` the reference's coefficients.
        precision: the relative rounding error of the gradients behind `K`: the epsilon of the dtype
            that they were computed in.
    """
    norms = unit_norms(gram)
    size_a, size_b = norm(gram, a), norm(gram, b)
    weight_a, weight_b = float(np.abs(a) @ norms), float(np.abs(b) @ norms)
    # Below this a norm is rounding: the units' gradients cancel to nothing.
    nothing = np.sqrt(len(a) * precision)
    zero_a, zero_b = size_a <= nothing * weight_a, size_b <= nothing * weight_b
    if zero_a or zero_b:
        return _with_zero(zero_a, zero_b)

    # A unit without a gradient has no say, whatever its coefficient.
    a, b = np.where(norms > 0, a, 0.0), np.where(norms > 0, b, 0.0)
    difference = a - b
    cosine = float(np.clip(inner(gram, a, b) / (size_a * size_b), -1.0, 1.0))
    relative = norm(gram, difference) / size_b
    if not difference.any():
        return Discrepancy(1.0, 1.0, 0.0, 0.0, Verdict.IDENTICAL)

    rounding = _coefficient_rounding(gram, a, b)
    if _vanishes(np.abs(difference), np.abs(a) + np.abs(b), norms, rounding):
        return Discrepancy(1.0, cosine, relative, relative, Verdict.ROUNDING)

    # Proportional columns give the scale to the last digit, which the Gram matrix cannot.
    heaviest = int(np.argmax(np.abs(b) * norms))
    ratio = float(a[heaviest] / b[heaviest])
    rest = a - ratio * b
    if _vanishes(np.abs(rest), np.abs(a) + abs(ratio) * np.abs(b), norms, rounding):
        if ratio < 0:
            return Discrepancy(ratio, cosine, relative, 1.0, Verdict.DIRECTION)
        return Discrepancy(ratio, cosine, relative, norm(gram, rest) / size_a, Verdict.SCALE)

    # No square of a norm: C's pow rounds it one way for a number and another for 16 times that number.
    scale = inner(gram, a, b) / inner(gram, b, b)
    if scale < 0:
        return Discrepancy(scale, cosine, relative, 1.0, Verdict.DIRECTION)
    rest = a - scale * b
    residual = norm(gram, rest)
    # Different columns may still be one gradient: a batch of one sample, units that are the same.
    same = residual <= nothing * float(np.abs(rest) @ norms)
    if same and abs(scale - 1) <= nothing:
        return Discrepancy(scale, cosine, relative, residual / size_a, Verdict.ROUNDING)
    verdict = Verdict.SCALE if same else Verdict.DIRECTION
    return Discrepancy(scale, cosine, relative, residual / size_a, verdict)


def _with_zero(zero_a: bool, zero_b: bool) -> Discrepancy:  # noqa: FBT001  two facts, named at the only call
    if zero_a and zero_b:
        reason = "both gradients are zero"
        return Discrepancy(None, None, None, 0.0, Verdict.IDENTICAL, reason)
    if zero_b:
        reason = "the reference's gradient is zero"
        return Discrepancy(None, None, None, 1.0, Verdict.DIRECTION, reason)
    return Discrepancy(0.0, None, 1.0, 1.0, Verdict.DIRECTION, "the convention's gradient is zero")


def _coefficient_rounding(gram: Gram, a: Column, b: Column) -> float:
    """A bound for the relative rounding error of coefficients.

    A coefficient comes of at most one sum over the units and a dozen more operations. Clip factors
    come of a norm besides, whose rounding is magnified by the cancellation in it.
    """
    magnified = max(cancellation(gram, a), cancellation(gram, b))
    return float((len(a) + 16) * EPS * max(1.0, magnified))


def _vanishes(rest: Column, whole: Column, norms: Column, rounding: float) -> bool:
    """Whether each entry of `rest` is within the rounding of the column that it remained of."""
    return bool(np.all(rest * norms <= rounding * whole * norms))
