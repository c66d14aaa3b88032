"""Loss terms whose weights have no formula in common: one for each, in the same quantities if it can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from suite.algebra.formula import Formula
from suite.algebra.quantities import Quantities
from suite.algebra.search import explain, with_constant, with_number
from suite.algebra.shapes import shapes
from suite.algebra.symbols import SYMBOLS, numeral
from suite.algebra.units import Column, Units
from suite.recovery.correct_loops import Slack
from suite.recovery.plainness import counts_entries, doubt
from suite.recovery.solve import Root, Solution

MOST_TERMS = 8
MOST_COUNTED = 1
"""How many numbers of the batch a term's formula has: with two, chance finds one for any weight."""
ALONE = 1.0
"""How much less readily people weigh sums, or means over what they count, than means: 0.3/n, not 0.0375."""
ODD = 3.0
"""The same for 1/9984, a number that nobody writes, and for 1/n²."""
ROOM = 0.8
"""How much more complex formulas of the same quantities may be than the plainest."""
AS_LIKELY, FACTORS_TOLD, SAME_BASE = 1.2, 2, 2.0
"""How much less plain other formulas may be to be told: of a few of any quantities, and of other terms'."""
ROUND_DIGITS = ("1", "5")
Plainness = Callable[[Formula], float]


@dataclass(frozen=True)
class Terms:
    """A formula for each loss term.

    Args:
        by_part: the term and its formula.
        values: `[units]` what they give.
        numbers: what the numbers in them are worth, by symbol.
        columns: `[units]` what the quantities in them are worth that vary between units, by symbol.
        also: for each term the other formulas that give its weights, the plainest first.
    """

    by_part: tuple[tuple[str, Formula], ...]
    values: Column
    numbers: tuple[tuple[str, float], ...]
    columns: tuple[tuple[str, Column], ...]
    also: tuple[tuple[Formula, ...], ...]


@dataclass(frozen=True, eq=False)
class _Candidate:
    formula: Formula
    known: Quantities
    plainness: float

    @property
    def base(self) -> Formula:
        """The formula without its numerals."""
        powers = tuple((name, power) for name, power in self.formula.powers if numeral(name) is None)
        return Formula(powers)


def has_terms(units: Units) -> bool:
    """Whether there are loss terms, few enough to have a formula each."""
    return units.part_kind == "terms" and 1 < len(units.parts) <= MOST_TERMS


def one_weight_each(
    root: Root, solution: Solution, slack: Slack, units: Units
) -> tuple[Column, Column] | None:
    """`[units]` the weights and their bounds, if one weight for each term explains the gradient.

    So few can be told much better than one for each unit.
    """
    if not has_terms(units):
        return None  # tokens: a mask for each would be a matrix of tokens × units
    heard = units.data & ~solution.silent
    masks = np.array([(units.part == index) & heard for index in range(len(units.parts))], dtype=np.float64)
    if not masks.any(axis=1).all():
        return None
    others = np.where(units.data, 0.0, solution.weights)
    matrix = root.gradients @ masks.T
    inverse = np.linalg.pinv(matrix)
    found = inverse @ (root.side - root.gradients @ others)
    column = found @ masks + others
    left = slack(column)
    if np.linalg.norm(root.side - root.gradients @ column) > left:
        return None
    bounds = np.linalg.norm(inverse, axis=1) * left
    return np.where(heard, column, np.nan), np.where(heard, bounds @ masks, np.inf)


def of_terms(
    weights: Column, error: Column, quantities: list[Quantities], plainness: Plainness, *, alone: bool
) -> Terms | None:
    """A formula for each loss term; None where one has none.

    Args:
        weights: `[units]`, nan where they cannot be told.
        error: `[units]` their bounds.
        quantities: what may stand in a formula.
        plainness: orders formulas.
        alone: whether each term has one weight: what no formula gives is then said as a number.
    """
    units = quantities[0].units
    # Nobody divides one term by the number of terms, or by elements that nobody stated.
    unlikely = {"P"} | ({"d"} if bool((units.elements[units.data] == 1).all()) else set())
    usual = [
        replace(q, searched=tuple(name for name in q.searched if name not in unlikely)) for q in quantities
    ]
    found = []
    for index in range(len(units.parts)):
        mine = np.where(units.part == index, weights, np.nan)
        candidates = [c for known in usual for c in _candidates(mine, error, known, plainness)]
        if not candidates and alone:
            number = float(mine[np.isfinite(mine)][0])
            shown = np.format_float_positional(float(f"{abs(number):.6g}"), trim="-")
            candidates = [_Candidate(Formula(((shown, 1),), number < 0), usual[0], 0.0)]
        if not candidates:
            return None
        found.append(candidates)
    chosen, joint = _alike(found)
    values = np.full(len(units), np.nan)
    for index, candidate in enumerate(chosen):
        mine = units.part == index
        number = alone and _is_number(candidate.formula)
        values = np.where(mine, weights if number else candidate.known.column(candidate.formula), values)
    others = [
        _others(index, chosen, candidates, [some[index] for some in joint])
        for index, candidates in enumerate(found)
    ]
    told = [*chosen, *(other for some in others for other in some)]
    numbers = {n: c.known.numbers[n] for c in told for n in c.formula.symbols if n in c.known.numbers}
    columns = {n: c.known.columns[n] for c in told for n in c.formula.symbols if n in c.known.columns}
    by_part = tuple((part, c.formula) for part, c in zip(units.parts, chosen, strict=True))
    also = tuple(tuple(dict.fromkeys(other.formula for other in some)) for some in others)
    return Terms(by_part, values, tuple(numbers.items()), tuple(columns.items()), also)


def _candidates(weights: Column, error: Column, known: Quantities, plainness: Plainness) -> list[_Candidate]:
    constant = with_constant(weights, error, known)
    formulas = [*explain(weights, error, known), *([] if constant is None else [constant])]
    formulas += [f for shape in shapes(weights, error, known) for f in with_number(shape, known)]
    counted = {name for name in known.numbers if " " in name}
    few = (f for f in formulas if len(counted & set(f.symbols)) <= MOST_COUNTED)
    return [_Candidate(f, known, plainness(f) + _oddness(f)) for f in few]


def _oddness(formula: Formula) -> float:
    """How much less likely a formula is for a term than for a step: people weigh means, and not by 1/9984."""
    decimal = any("." in name for name in formula.symbols if " " not in name)
    odd = ALONE * (_is_number(formula) or (decimal and any(" " in name for name in formula.symbols)))
    if _is_literal(formula) and any(power < 0 and name != "2" for name, power in formula.powers):
        odd += ODD
    return odd + ODD * any(power < -1 and name in SYMBOLS for name, power in formula.powers)


def _is_number(formula: Formula) -> bool:
    """Whether it is a numeral alone, though not 1."""
    return bool(formula.powers) and all(numeral(name) is not None for name in formula.symbols)


def _others(
    index: int, chosen: list[_Candidate], candidates: list[_Candidate], joint: list[_Candidate]
) -> list[_Candidate]:
    """The other candidates for a term that people could have meant, the plainest first.

    Beside a bare number that is what has another term's quantities: 14.4/n for 0.9, where that has 0.1/n.
    """
    mine, bases = chosen[index], {candidate.base for candidate in chosen}
    room = SAME_BASE if _is_number(mine.formula) else AS_LIKELY
    few = (c for c in candidates if sum(abs(power) for _, power in c.formula.powers) <= FACTORS_TOLD)
    near = [c for c in few if c.plainness <= mine.plainness + (room if c.base in bases else AS_LIKELY)]
    most = max(2.0, written_digits(mine.formula))
    joint = [c for c in joint if written_digits(c.formula) <= most]
    told = (c for c in (*joint, *near, *_means(mine, candidates)) if c.formula != mine.formula)
    divided = (c for c in told if not _is_literal(c.formula) or c.formula.powers[0][1] > 0)
    return sorted(divided, key=lambda one: one.plainness)


def _means(mine: _Candidate, candidates: list[_Candidate]) -> list[_Candidate]:
    """The mean over the entries of a tensor, weighed by no more digits: 0.3/60 beside 0.06/n."""
    over = [c for c in candidates if len(c.base.powers) == 1 and counts_entries(c.base.powers[0][0])]
    most = written_digits(mine.formula)
    few = [c for c in over if c.base.powers[0][1] == -1 and written_digits(c.formula) <= most]
    few = [c for c in few if _digits(c.formula) != _digits(mine.formula) or 0.1 <= _weight(c.formula) <= 1]
    few.sort(key=lambda c: c.base.powers[0][0])
    return [min(reversed(few), key=lambda c: written_digits(c.formula))] if few else []


def written_digits(formula: Formula) -> float:
    """How many digits its numerals are written in; less for a round one, 0.01 or 5."""
    digits = _digits(formula)
    return len(digits) - 0.5 * (digits in ROUND_DIGITS)


def _digits(formula: Formula) -> str:
    return "".join(n.replace(".", "").strip("0") for n in formula.symbols if numeral(n) is not None)


def _weight(formula: Formula) -> float:
    return prod(numeral(name) or 1.0 for name, power in formula.powers if power > 0)


def _is_literal(formula: Formula) -> bool:
    """Whether it is a whole number alone, or one over it."""
    return _is_number(formula) and all(name.isdigit() for name in formula.symbols)


def _alike(found: list[list[_Candidate]]) -> tuple[list[_Candidate], list[list[_Candidate]]]:
    """One of each, all with the same quantities where that can be, the plainest; and others that are alike.

    A number of the batch that all of them have is doubted but once: 1/80 and 0.25/80, over 80 entries.
    """

    def best(candidates: list[_Candidate]) -> _Candidate:
        return min(candidates, key=lambda one: (one.plainness, len(one.formula.powers)))

    def total(chosen: list[_Candidate]) -> float:
        again = [doubt(name) for name in chosen[0].base.symbols if " " in name] * (len(chosen) - 1)
        together = len({candidate.base for candidate in chosen}) == 1
        return sum(candidate.plainness for candidate in chosen) - (sum(again) if together else 0.0)

    plainest = [best(one) for one in found]
    common = set.intersection(*({candidate.base for candidate in one} for one in found)) - {Formula()}
    every = [[best([c for c in one if c.base == base]) for one in found] for base in common]
    every.sort(key=lambda chosen: (total(chosen), str(chosen[0].base)))
    first = every[0] if every and total(every[0]) <= total(plainest) + ROOM else plainest
    digits = sum(written_digits(candidate.formula) for candidate in first)
    others = [other for other in every if sum(written_digits(c.formula) for c in other) < digits]
    return first, [other for other in others if total(other) <= total(first) + SAME_BASE]
