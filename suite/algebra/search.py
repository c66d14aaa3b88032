"""Which formulas give these weights: an exact search, simplest first.

A formula is a shape, a product of powers of what varies between units, times a constant, a product of
powers of numbers of the whole batch. Each unit's weight, known up to its error, leaves an interval for the
constant; a shape fits if all intervals have a number in common, and a constant fits if it lies there.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from suite.algebra.formula import Formula
from suite.algebra.gram import inner
from suite.algebra.products import ROUNDING, Exponents, formula_of, minimal, power_products
from suite.algebra.quantities import Quantities, whole_clip
from suite.algebra.shapes import Shape, shapes, told_units
from suite.algebra.symbols import WHOLE_CLIPS
from suite.algebra.units import Column

__all__ = ["Shape", "explain", "explain_number", "literal", "shapes", "with_constant", "with_number"]

CONSTANT_COMPLEXITY = 4.6
"""Beyond it a formula explains less than the number itself: 4/n² for 1/9."""
LARGEST_LITERAL = 2**20
MOST_DIGITS, FEW_DIGITS = 4, 2
"""Of a weight over the number of samples, and over what only this batch counts."""
MOST_BY_CHANCE = 0.01
"""How near to a number of few digits another one may be that is taken for it, in their distances."""


def explain(weights: Column, error: Column, quantities: Quantities) -> list[Formula]:
    """The formulas that give these weights on this batch, simplest first; none if there are none.

    More than one means that this batch cannot tell them apart: they are worth the same here, within the
    errors. `suite.algebra.formula.simplest` has those that are equally plain.

    Args:
        weights: `[units]`.
        error: `[units]` a bound of each weight's error; nan or infinite where the weight cannot be told.
        quantities: of the batch.
    """
    told = told_units(weights, error, quantities)
    known = _Constants(quantities, told)
    found: list[Formula] = []
    for shape in shapes(weights, error, quantities):
        found += [shape.formula * constant for constant in known.within(shape.low, shape.high)]
        found += _clipped(shape, quantities, known)
    loud = told & (np.abs(weights) > np.nan_to_num(error))
    return sorted(_without_ones(found, quantities, loud), key=lambda formula: formula.complexity)


def explain_number(value: float, error: float, quantities: Quantities) -> list[Formula]:
    """The formulas of numbers of the whole batch that are worth `value`, within `error`; simplest first."""
    slack = max(error, ROUNDING * abs(value))
    return list(_Constants(quantities, quantities.units.data).within(value - slack, value + slack))


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


def decimal(low: float, high: float, most_digits: int = MOST_DIGITS) -> Formula | None:
    """The number of few digits from `low` to `high`, as people write weights of terms: 0.3.

    None where it is a whole number, or where chance could do it: the middle of the interval must be far
    nearer to it than such numbers are to each other.
    """
    if not 0 < low <= high or not np.isfinite(high):
        return None if low >= 0 or high >= 0 else _negated(decimal(-high, -low, most_digits))
    middle = (low + high) / 2
    for digits in range(1, most_digits + 1):
        text = np.format_float_positional(float(f"{middle:.{digits}g}"), trim="-")
        value = float(text)
        distance = 10.0 ** (np.floor(np.log10(value)) - digits + 1)
        inside = low - ROUNDING * high <= value <= high * (1 + ROUNDING)
        if inside and high - low <= distance / 4 and abs(value - middle) <= MOST_BY_CHANCE * distance:
            return None if text.isdigit() else Formula(((text, 1),))
    return None


def with_number(shape: Shape, quantities: Quantities) -> Iterator[Formula]:
    """A shape times a number of few digits, alone or over a count: `0.3/n`, `5/n`."""
    for name in quantities.searched:
        value = quantities.numbers.get(name, 0.0)
        ends = shape.low * value, shape.high * value
        digits = MOST_DIGITS if name == "n" else FEW_DIGITS
        number = (decimal(*ends, digits) or literal(*ends)) if value > 1 else None
        if number is not None and all(power > 0 for _, power in number.powers):
            yield shape.formula * number * Formula(((name, -1),))
    number = decimal(shape.low, shape.high)
    if number is not None:
        yield shape.formula * number


def _without_ones(found: list[Formula], quantities: Quantities, loud: NDArray[np.bool_]) -> Iterator[Formula]:
    """Without the formulas that are another one times a product of columns and numbers that is worth one."""
    for negative in (False, True):
        alike = [dict(formula.powers) for formula in found if formula.negative == negative]
        names = sorted({name for powers in alike for name in powers})
        if not alike:
            continue
        rows = np.array([[powers.get(name, 0) for name in names] for powers in alike], dtype=np.int8)
        ones = np.ones(len(quantities.units))
        worth = [quantities.column(Formula(((name, 1),))) * ones for name in names]
        logs = np.log(np.abs(np.array(worth).reshape(len(names), len(ones))[:, loud]))
        # The factor of a clipped gradient has no worth of its own: nan is never one.
        for row in minimal(rows, names, logs):
            yield formula_of(names, row, negative=negative)


class _Constants:
    """All products of powers of the batch's numbers, sorted by value."""

    def __init__(self, quantities: Quantities, told: NDArray[np.bool_]) -> None:
        self.names, values = [], []
        for name in (*quantities.searched, "2"):
            column = quantities.columns.get(name)
            value = 2.0 if name == "2" else quantities.numbers.get(name, np.nan)
            if column is not None:
                # A column that does not vary between the units that can be told is a number.
                inside = column[told]
                value = float(inside[0]) if len(inside) and np.ptp(inside) == 0 else np.nan
            # What is worth one changes nothing, and would stand in every formula.
            if np.isfinite(value) and value > 0 and value != 1:
                self.names.append(name)
                values.append(value)
        self.exponents = power_products(tuple(self.names), CONSTANT_COMPLEXITY)
        self.known = np.log(values)[:, None]
        logs = (self.exponents.astype(np.float64) @ self.known)[:, 0]
        order = np.argsort(logs, kind="stable")
        self.exponents, self.logs = self.exponents[order], logs[order]

    def within(self, low: float, high: float) -> Iterator[Formula]:
        """Those from `low` to `high`, simplest first, with a minus where both are negative."""
        if low <= 0 <= high:
            return
        negative = high < 0
        if negative:
            low, high = -high, -low
        first = np.searchsorted(self.logs, np.log(low) - ROUNDING)
        last = np.searchsorted(self.logs, np.log(high) + ROUNDING, side="right")
        for row in minimal(self.exponents[first:last], self.names, self.known):
            yield formula_of(self.names, row, negative=negative)

    @cached_property
    def plain(self) -> tuple[Exponents, Column]:
        """Those of at most two factors, with what they are worth."""
        few = np.abs(self.exponents).sum(axis=1) <= 2
        return self.exponents[few], np.exp(self.logs[few])


def _clipped(shape: Shape, quantities: Quantities, known: _Constants) -> Iterator[Formula]:
    """The formulas with a clip factor of the whole gradient: its norm is then C, or C over a number.

    Whatever was multiplied with before clipping cannot be told any more: the plainest are told.
    """
    units, gram = quantities.units, quantities.gram
    column = np.where(units.data, quantities.column(shape.formula), 0.0)
    if gram is None or units.max_norm is None or not np.isfinite(column).all():
        return
    rest = units.column(0.0)  # the regulariser, which is clipped too
    square, mixed, alone = (inner(gram, *pair) for pair in ((column, column), (column, rest), (rest, rest)))
    sign = Formula((), negative=shape.high < 0)
    slack = ROUNDING * max(abs(shape.low), abs(shape.high))
    rows, worth = known.plain
    constants = -worth if sign.negative else worth
    sizes = np.sqrt(np.maximum(constants * (constants * square + 2 * mixed) + alone, 0.0))
    for clip in WHOLE_CLIPS:
        factors = whole_clip(units, clip, sizes)
        inside = (shape.low - slack <= constants * factors) & (constants * factors <= shape.high + slack)
        for row in rows[inside & (factors != 1.0)]:
            yield shape.formula * formula_of(known.names, row) * Formula(((clip, 1),)) * sign


def _negated(formula: Formula | None) -> Formula | None:
    return None if formula is None else Formula(formula.powers, negative=True)
