"""Which formulas give these weights: an exact search, simplest first.

A formula is a *shape*, a product of powers of what varies between units, times a constant, a product of
powers of numbers of the whole batch. Each unit's weight, known up to its error, leaves an interval for the
constant; a shape fits if all intervals have a number in common, and a constant fits if it lies there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from suite.algebra.formula import Formula
from suite.algebra.quantities import Quantities
from suite.algebra.symbols import WHOLE_CLIPS, cost
from suite.algebra.units import Column

ROUNDING = 1e-12
"""Relative; the least error that a weight has: of the products and quotients that are compared here."""
SHAPE_FACTORS, CONSTANT_FACTORS = 4, 4
"""How many factors, powers counted, a shape and a constant may have."""
MOST_COLUMNS, MOST_NUMBERS = 24, 20
"""The more quantities there are, the fewer factors are tried: a search takes milliseconds."""
POWERS = (-2, -1, 0, 1, 2)
PLAUSIBLE = 4.6
"""The complexity of a constant beyond which a formula explains less than the number itself: 4/n² for 1/9."""
MOST_FORMULAS = 200
PROBES = 24
LARGEST_LITERAL = 2**20


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


def explain(weights: Column, error: Column, quantities: Quantities) -> list[Formula]:
    """The formulas that give these weights on this batch, simplest first; none if there are none.

    More than one means that this batch cannot tell them apart: they are worth the same here, within the
    errors. `suite.algebra.formula.simplest` has those that are equally plain.

    Args:
        weights: `[units]`.
        error: `[units]` a bound of each weight's error; nan or infinite where the weight cannot be told.
        quantities: of the batch.
    """
    known = _Constants(quantities)
    found: dict[Formula, float] = {}
    for shape in shapes(weights, error, quantities):
        for constant in known.within(shape.low, shape.high):
            formula = shape.formula * constant
            found.setdefault(formula, formula.complexity)
        for formula in _clipped(shape, quantities, known):
            found.setdefault(formula, formula.complexity)
    return sorted(found, key=lambda formula: (found[formula], len(formula.powers)))


def explain_number(value: float, error: float, quantities: Quantities) -> list[Formula]:
    """The formulas of numbers of the whole batch that are worth `value`, within `error`; simplest first."""
    slack = max(error, ROUNDING * abs(value))
    return list(_Constants(quantities).within(value - slack, value + slack))


def with_constant(weights: Column, error: Column, quantities: Quantities) -> Formula | None:
    """The simplest shape times a whole number or one over one, where the errors leave only one: `1/1024`."""
    for shape in shapes(weights, error, quantities):
        number = literal(shape.low, shape.high)
        if number is not None:
            return shape.formula * number
    return None


def literal(low: float, high: float) -> Formula | None:
    """The one whole number, or one over a whole number, from `low` to `high`; None if none or several are."""
    if not 0 < low <= high or not np.isfinite(high):
        return None if low >= 0 or high >= 0 else _negated(literal(-high, -low))
    for power, (least, most) in ((1, (low, high)), (-1, (1 / high, 1 / low))):
        number = round((least + most) / 2)
        slack = ROUNDING * most
        alone = np.ceil(least - slack) == np.floor(most + slack) == number
        if alone and 1 <= number <= LARGEST_LITERAL:
            return Formula(((str(number), power),)) if number > 1 else Formula()
    return None


def shapes(weights: Column, error: Column, quantities: Quantities) -> list[Shape]:
    """What the weights can be proportional to, simplest first.

    Weights of zero need a factor that is zero there, such as `w_u`, unless nothing can be told of them.
    """
    data = quantities.units.data
    told = np.isfinite(weights) & np.isfinite(error) & data
    weights = np.asarray(weights, dtype=np.float64)[told]
    slack = np.maximum(np.asarray(error, dtype=np.float64)[told], ROUNDING * np.abs(weights))
    loud = np.abs(weights) > slack
    if not loud.any():
        return []
    factors = _factors(quantities, told, loud)
    names = [name for name, _ in factors]
    columns = np.stack([column for _, column in factors]) if factors else np.ones((0, len(weights)))
    exponents = _exponents(len(names), SHAPE_FACTORS if len(names) <= MOST_COLUMNS else SHAPE_FACTORS - 1)
    found = {}
    for row in _probable(exponents, columns, weights, slack, loud):
        interval = _interval(row, columns, weights, slack)
        if interval is not None:
            found[Formula(tuple(zip(names, map(int, row), strict=True)))] = interval
    return [Shape(formula, *found[formula]) for formula in _minimal(found)]


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
    exponents: NDArray[np.int8], columns: Column, weights: Column, slack: Column, loud: NDArray[np.bool_]
) -> NDArray[np.int8]:
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


def _interval(
    row: NDArray[np.int8], columns: Column, weights: Column, slack: Column
) -> tuple[float, float] | None:
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


class _Constants:
    """All products of powers of the batch's numbers, sorted by value."""

    def __init__(self, quantities: Quantities) -> None:
        self.names, values = [], []
        for name in (*quantities.searched, "2"):
            column = quantities.columns.get(name)
            value = float(name) if name.isdigit() else quantities.numbers.get(name, np.nan)
            if column is not None:
                # A column that does not vary on this batch is a number of it.
                inside = column[quantities.units.data]
                value = float(inside[0]) if len(inside) and np.ptp(inside) == 0 else np.nan
            # What is worth one changes nothing, and would stand in every formula.
            if np.isfinite(value) and value > 0 and value != 1:
                self.names.append(name)
                values.append(value)
        factors = CONSTANT_FACTORS if len(values) <= MOST_NUMBERS else CONSTANT_FACTORS - 1
        self.exponents = _exponents(len(values), factors)
        logs = self.exponents.astype(np.float64) @ np.log(values) if values else np.zeros(1)
        order = np.argsort(logs, kind="stable")
        self.exponents, self.logs = self.exponents[order], logs[order]
        steps = [[cost(name, power) if power else 0.0 for power in POWERS] for name in self.names]
        self.complexity = np.zeros(len(order))
        for column, costs in zip(self.exponents.T, steps, strict=True):
            self.complexity += np.asarray(costs)[column + 2]

    def within(self, low: float, high: float) -> Iterator[Formula]:
        """Those from `low` to `high`, simplest first, with a minus where both are negative."""
        if low <= 0 <= high:
            return
        negative = high < 0
        if negative:
            low, high = -high, -low
        first = np.searchsorted(self.logs, np.log(low) - ROUNDING)
        last = np.searchsorted(self.logs, np.log(high) + ROUNDING, side="right")
        yield from _minimal(
            Formula(tuple(zip(self.names, map(int, row), strict=True)), negative)
            for row in self.exponents[first:last][self.complexity[first:last] <= PLAUSIBLE]
        )

    def plain(self) -> Iterator[Formula]:
        """Those of at most two factors."""
        for row in self.exponents[(np.abs(self.exponents).sum(axis=1) <= 2) & (self.complexity <= PLAUSIBLE)]:
            yield Formula(tuple(zip(self.names, map(int, row), strict=True)))


def _clipped(shape: Shape, quantities: Quantities, known: _Constants) -> Iterator[Formula]:
    """The formulas with a clip factor of the whole gradient: its norm is then C, or C over a number.

    Whatever was multiplied with before clipping cannot be told any more: the plainest are told.
    """
    if quantities.gram is None or quantities.units.max_norm is None:
        return
    for clip in WHOLE_CLIPS:
        for before in known.plain():
            formula = shape.formula * before * Formula(((clip, 1),))
            ratio = quantities.column(formula) / quantities.column(shape.formula)
            factor = quantities.column(formula) / quantities.column(shape.formula * before)
            inside = np.isfinite(ratio)
            if not inside.any() or float(factor[inside][0]) == 1.0:
                continue
            constant = float(ratio[inside][0])
            if shape.low * (1 - ROUNDING) <= constant <= shape.high * (1 + ROUNDING):
                yield formula


@lru_cache(maxsize=64)
def _exponents(names: int, factors: int) -> NDArray[np.int8]:
    """`[products, names]` all products of at most so many factors, each to a power of −2 to 2."""
    rows = [np.zeros((1, names), dtype=np.int8)]
    last = np.zeros(1, dtype=int)
    for _ in range(factors if names else 0):
        grown, ends = [], []
        for name in range(names):
            before = rows[-1][last <= name]
            for sign in (1, -1):
                kept = before[(before[:, name] * sign >= 0) & (np.abs(before[:, name]) < 2)]
                more = kept.copy()
                more[:, name] += sign
                grown.append(more)
                ends.append(np.full(len(more), name))
        rows.append(np.concatenate(grown))
        last = np.concatenate(ends)
    return np.concatenate(rows)


def _minimal(formulas: Iterable[Formula]) -> list[Formula]:
    """Formulas of equal worth, simplest first, without those that hold another one and a product worth one.

    `W/K²` is left out beside `1/K`: where it fits, W/K is one on this batch, or within the errors.
    """
    kept: list[dict[str, int]] = []
    found: list[Formula] = []
    for formula in sorted(formulas, key=lambda formula: formula.complexity):
        powers = dict(formula.powers)
        if any(all(powers.get(n, 0) / p >= 1 for n, p in other.items()) for other in kept):
            continue
        kept.append(powers)
        found.append(formula)
        if len(found) == MOST_FORMULAS:
            break
    return found


def _negated(formula: Formula | None) -> Formula | None:
    return None if formula is None else Formula(formula.powers, negative=True)
