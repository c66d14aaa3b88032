"""What weights are proportional to: products of powers of what varies between units, found exactly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from suite.algebra.formula import Formula
from suite.algebra.products import ROUNDING, Exponents, formula_of, minimal, power_products
from suite.algebra.quantities import Quantities
from suite.algebra.units import Column

SHAPE_COMPLEXITY = 6.0
"""Of what varies, at most: that of w_u·λ_t·n_k/V_kr and a little more."""
PROBES = 24
"""Units on which all products are tried; those that fit are held against all units."""


@dataclass(frozen=True)
class Shape:
    """What the weights are proportional to.

    Args:
        formula: a product of powers of quantities that vary between units; 1 where weights are all the same.
        low: the smallest constant with which it gives the weights.
        high: the largest one.
    """

    formula: Formula
    low: float
    high: float

    @property
    def constant(self) -> float:
        """The middle of what the constant may be."""
        return (self.low + self.high) / 2


def shapes(weights: Column, error: Column, quantities: Quantities) -> list[Shape]:
    """What the weights can be proportional to, simplest first.

    Weights of zero need a factor that is zero there, such as `w_u`, unless nothing can be told of them.
    """
    told = told_units(weights, error, quantities)
    weights = np.asarray(weights, dtype=np.float64)[told]
    slack = np.maximum(np.asarray(error, dtype=np.float64)[told], ROUNDING * np.abs(weights))
    loud = np.abs(weights) > slack
    if not loud.any():
        return []
    factors = _factors(quantities, told, loud)
    numbers = np.stack([*(column for _, column in factors), weights, slack])
    return list(_searched(tuple(name for name, _ in factors), numbers.tobytes()))


@lru_cache(maxsize=8)
def _searched(names: tuple[str, ...], numbers: bytes) -> tuple[Shape, ...]:
    """The shapes, kept: weights that nothing explains are asked for a formula in several ways.

    Args:
        names: of the columns that vary.
        numbers: `[names + 2, units]` of float64: these columns, the weights and their bounds.
    """
    table = np.frombuffer(numbers).reshape(len(names) + 2, -1)
    columns, weights, slack = table[:-2], table[-2], table[-1]
    loud = np.abs(weights) > slack
    exponents = power_products(names, SHAPE_COMPLEXITY)
    rows = _probable(exponents, columns, weights, slack, loud)
    found: list[Shape] = []

    def fits(row: Exponents) -> bool:
        interval = _interval(row, columns, weights, slack)
        if interval is not None:
            found.append(Shape(formula_of(names, row), *interval))
        return interval is not None

    minimal(rows, names, np.log(np.abs(columns[:, loud])), fits)
    return tuple(found)


def told_units(weights: Column, error: Column, quantities: Quantities) -> NDArray[np.bool_]:
    """`[units]` the units of the data whose weight is known."""
    return np.asarray(np.isfinite(weights) & np.isfinite(error) & quantities.units.data)


def _factors(
    quantities: Quantities, told: NDArray[np.bool_], loud: NDArray[np.bool_]
) -> list[tuple[str, Column]]:
    """The columns that vary between the units that can be told, and are not zero where weights are not."""
    found = []
    for name in quantities.searched:
        column = quantities.columns.get(name)
        if column is None:
            continue
        column = column[told]
        varies = not np.allclose(column, column[0], rtol=ROUNDING, atol=0.0)
        if np.isfinite(column).all() and varies and (column[loud] != 0).all():
            found.append((name, column))
    return found


def _probable(
    exponents: Exponents, columns: Column, weights: Column, slack: Column, loud: NDArray[np.bool_]
) -> Exponents:
    """The exponents that fit on a few units whose weights are not zero, in logarithms."""
    zero = (columns == 0).any(axis=1)
    exponents = exponents[(exponents[:, zero] >= 0).all(axis=1)]
    where = np.flatnonzero(loud)
    # The units whose weights differ most tell most.
    order = where[np.argsort(np.abs(weights[where]), kind="stable")]
    picked = np.unique(order[np.linspace(0, len(order) - 1, min(PROBES, len(order))).astype(int)])
    logs = np.log(np.abs(columns[:, picked]))
    wanted = np.log(np.abs(weights[picked]))
    relative = slack[picked] / np.abs(weights[picked])
    room = -np.log1p(-np.minimum(relative, 1 - 1e-9)) + ROUNDING
    rest = wanted - exponents.astype(np.float64) @ logs
    fits = (rest - room).max(axis=1) <= (rest + room).min(axis=1)
    return np.asarray(exponents[fits])


def _interval(row: Exponents, columns: Column, weights: Column, slack: Column) -> tuple[float, float] | None:
    """The constants with which this product of columns gives every weight within its error."""
    shape = np.prod(columns ** row[:, None].astype(np.float64), axis=0) if len(columns) else np.ones(1)
    shape = np.broadcast_to(shape, weights.shape)
    silent = shape == 0
    if (np.abs(weights[silent]) > slack[silent]).any():
        return None
    used = shape[~silent]
    ends = (weights + np.stack([-slack, slack]))[:, ~silent] / used
    low, high = float(ends.min(axis=0).max()), float(ends.max(axis=0).min())
    width = ROUNDING * max(abs(low), abs(high))
    if low > high + width or low <= 0 <= high:
        return None
    return min(low, high), max(low, high)
