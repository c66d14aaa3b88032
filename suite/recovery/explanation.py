"""The weights of a step as formulas, in the quantities of the units table and of the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from suite.algebra.formula import Formula
from suite.algebra.quantities import Quantities
from suite.algebra.search import explain, with_constant, with_number
from suite.algebra.shapes import Shape, shapes
from suite.algebra.symbols import CLIP, numeral
from suite.algebra.units import Column
from suite.recovery.correct_loops import Slack
from suite.recovery.identify import Match
from suite.recovery.label_weights import SYMBOL, by_label
from suite.recovery.plainness import formula_plainness, is_of_shape, is_weight
from suite.recovery.solve import Root, Solution
from suite.recovery.terms import has_terms, of_terms

if TYPE_CHECKING:
    from suite.algebra.units import Units
    from suite.conventions import Convention
    from suite.loops.batch import Batch

CLIPPED = Formula(((CLIP, 1),))
Fits = Callable[[Column], bool]


@dataclass(frozen=True)
class Explanation:
    """Formulas that give the weights on this batch.

    Args:
        formulas: all of them, the plainest first; those of registered conventions before the others.
        numbers: what the numbers in them are worth, by symbol.
        columns: `[units]` what the quantities in them are worth that vary between units, by symbol.
        values: `[units]` what the first formula gives; nan where it says nothing, None where there is none.
        shape: what the weights are proportional to, where nothing gives the constant, or None.
        constant: the constant with which that gives the weights, or None.
        by_part: a formula for each loss term, where the terms have none in common; else empty.
        by_part_also: for each of these terms the other formulas that give its weights, the plainest first.
        hints: sentences on what the weights go with, where nothing gives them.
        notes: sentences on what stands in the formula and nowhere in the batch.
    """

    formulas: tuple[Formula, ...] = ()
    numbers: tuple[tuple[str, float], ...] = ()
    columns: tuple[tuple[str, Column], ...] = ()
    values: Column | None = None
    shape: Formula | None = None
    constant: float | None = None
    by_part: tuple[tuple[str, Formula], ...] = ()
    by_part_also: tuple[tuple[Formula, ...], ...] = ()
    hints: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def explained(
    weights: Column,
    error: Column,
    quantities: list[Quantities],
    found: list[Match],
    fits: Fits,
    each: tuple[Column, Column] | None = None,
) -> Explanation:
    """The formulas that `weights` are.

    Args:
        weights: `[units]`, nan where they cannot be told.
        error: `[units]` their bounds.
        quantities: what may stand in a formula; what was added to a norm differs between them.
        found: the conventions that these weights are, the plainest first.
        fits: whether coefficients are those of the step. Bounds of weights that are hard to tell are wide.
        each: `[units]` weights and bounds, if each loss term has one weight; see `one_weight_each`.
    """
    first = quantities[0]
    formulas = dict.fromkeys(_registered(found, quantities, fits))
    searched: list[Formula] = []
    for some in quantities:
        searched += [f for f in explain(weights, error, some) if fits(some.column(f))]
    formulas |= dict.fromkeys(sorted(searched, key=lambda formula: formula_plainness(formula)))
    if not formulas:
        numbered = sorted(_with_numbers(weights, error, first), key=_constant)
        formulas = dict.fromkeys(f for f in numbered if fits(first.column(f)))
    elif any(map(is_of_shape, next(iter(formulas)).symbols)):
        weighed = sorted((f for f in _with_numbers(weights, error, first) if is_weight(f)), key=_constant)
        formulas |= dict.fromkeys(f for f in weighed if fits(first.column(f)))
    if formulas:
        return _of(tuple(formulas), quantities, fits)
    terms = _of_terms(weights, error, quantities, fits, each)
    if terms is not None:
        return terms
    shape = next((s for s in shapes(weights, error, first) if s.formula.powers and _sure(s)), None)
    return Explanation() if shape is None else Explanation(shape=shape.formula, constant=shape.constant)


def of_labels(weights: Column, error: Column, units: Units, batch: Batch, fits: Fits) -> Explanation | None:
    """The weights as a table by label over a sum, if that is no chance."""
    found = by_label(weights, error, units, batch)
    if found is None:
        return None
    under = found.numbers[0][1] if found.numbers else 1.0
    values = found.column / under
    if not fits(values):
        return None
    return Explanation(
        formulas=(found.formula,), numbers=found.numbers, columns=((SYMBOL, found.column),), values=values,
        notes=(found.says,),
    )  # fmt: skip


def product_formulas(found: list[Match], quantities: Quantities) -> list[Formula]:
    """The formulas of the conventions that were found, in the quantities of this batch."""
    return products_of([match.convention for match in found], quantities)


def products_of(conventions: Iterable[Convention], quantities: Quantities) -> list[Formula]:
    """The formulas of conventions, in the quantities of this batch: `K` where it is the full window."""
    same = {name: Formula() for name, value in quantities.numbers.items() if value == 1}
    same |= {
        name: Formula(((plain, 1),))
        for name, plain in (("W", "K"), ("S", "R"))
        if quantities.numbers.get(name) == quantities.numbers.get(plain, np.nan)
    }
    return [
        quantities.said(convention.product).replaced(same)
        for convention in conventions
        if convention.product is not None
    ]


def _registered(found: list[Match], quantities: list[Quantities], fits: Fits) -> list[Formula]:
    """The formulas of the conventions that these weights are, as they are or clipped once."""
    exact = [match for match in found if match.scale == 1.0]
    clipped = [formula * CLIPPED for formula in product_formulas(found, quantities[0])] if not exact else []
    held = [f for f in clipped if any(fits(each.column(f)) for each in quantities)]
    return product_formulas(exact, quantities[0]) + held


def _of_terms(
    weights: Column,
    error: Column,
    quantities: list[Quantities],
    fits: Fits,
    each: tuple[Column, Column] | None,
) -> Explanation | None:
    """A formula for each loss term, where the terms have none in common."""
    if not has_terms(quantities[0].units):
        return None
    given = (weights, error) if each is None else each
    terms = of_terms(*given, quantities, formula_plainness, alone=each is not None)
    if terms is None or not fits(terms.values):
        return None
    return Explanation(
        by_part=terms.by_part, by_part_also=terms.also, values=terms.values, numbers=terms.numbers,
        columns=terms.columns,
    )  # fmt: skip


def of_gradient(root: Root, solution: Solution, slack: Slack, units: Units) -> Fits:
    """Whether coefficients give the gradient of `root`. A formula says nothing of the regulariser."""
    asked = units.data & ~solution.silent

    def fits(column: Column) -> bool:
        if not np.isfinite(column[asked]).all():
            return False
        given = np.where(asked, column, np.where(units.data, 0.0, solution.weights))
        return float(np.linalg.norm(root.side - root.gradients @ given)) <= slack(given)

    return fits


def _of(formulas: tuple[Formula, ...], quantities: list[Quantities], fits: Fits) -> Explanation:
    first = formulas[0]
    source = next((each for each in quantities if fits(each.column(first))), quantities[0])
    used = dict.fromkeys(name for formula in formulas for name in formula.symbols)
    return Explanation(
        formulas=formulas,
        numbers=tuple((name, source.numbers[name]) for name in used if name in source.numbers),
        columns=tuple((name, source.columns[name]) for name in used if name in source.columns),
        values=source.column(first),
    )


def _with_numbers(weights: Column, error: Column, quantities: Quantities) -> Iterator[Formula]:
    """A number that nothing counts: a whole one alone as a divisor, or one of few digits over a count."""
    alone = with_constant(weights, error, quantities)
    if alone is not None:
        yield alone
    for shape in shapes(weights, error, quantities):
        yield from with_number(shape, quantities)


def _constant(formula: Formula) -> tuple[bool, bool, int, int]:
    """What orders formulas with a number that nothing counts.

    What is divided by the size of something comes last: 10/n, rather than 5/4. A bare whole number comes
    first, then small ones; 0.3 before 2.4/n, and 0.3/n before 0.0375.
    """
    shaped = any(map(is_of_shape, formula.symbols))
    decimal = next((name for name in formula.symbols if numeral(name) is not None and "." in name), None)
    if decimal is not None:
        return shaped, True, len(decimal.replace(".", "").strip("0")), -len(formula.powers)
    return (
        shaped,
        False,
        len(formula.powers),
        max((int(n) for n in formula.symbols if n.isdigit()), default=1),
    )


def _sure(shape: Shape) -> bool:
    """Whether the weights leave little doubt of the constant, and so of the shape."""
    return shape.high - shape.low <= 1e-3 * abs(shape.constant)
