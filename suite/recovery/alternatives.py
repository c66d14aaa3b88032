"""Other formulas that give the same numbers on this batch: which are told, and what tells them apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import isclose, prod

import numpy as np

from suite.algebra.formula import SUPERSCRIPTS, Formula
from suite.algebra.symbols import CLIP, LITERAL_COST, SYMBOLS, numeral
from suite.recovery.findings import Findings
from suite.recovery.plainness import COUNTED, formula_plainness, is_of_shape, is_weight
from suite.recovery.weight_lines import named, part_name, substituted

PLAUSIBLE, BY_SHAPE = 1.5, 0.5
"""How much less plain than the first a formula may be to be told, and one by the size of something."""
MOST_TOLD = 3
MEASURES = ("size", "sum", "largest", "standard", "biased", "mean", "root")
"""What names of numbers begin with that are no counts."""


def alternatives(found: Findings) -> Iterator[str]:
    """Sentences on the formulas that give the same numbers, for all units or for each loss term."""
    explanation = found.explanation
    if explanation.formulas:
        yield from _told(explanation.formulas, "", found)
    for (part, first), others in zip(explanation.by_part, explanation.by_part_also, strict=True):
        yield from _told((first, *others), f"For {part_name(part)}, ", found)


def _told(formulas: Sequence[Formula], whose: str, found: Findings) -> Iterator[str]:
    first, likely = formulas[0], likely_others(formulas, found, chosen=bool(whose))
    if not likely:
        return
    said = ", ".join(_written(formula, first, found) for formula in likely[:MOST_TOLD])
    more = f" and {len(likely) - MOST_TOLD} more" if len(likely) > MOST_TOLD else ""
    if CLIP in first.symbols:
        hides = "clipping hides constant factors: it may be"
        says = f"{whose}{hides} {said}{more}; a batch that is not clipped would tell."
    else:
        says = f"{whose}this batch cannot tell it from {said}{more}; {_another_batch(first, likely, found)}."
    yield says[0].upper() + says[1:]


def likely_others(formulas: Sequence[Formula], found: Findings, *, chosen: bool) -> list[Formula]:
    """Those after the first that people could have meant, and that are no registered convention's.

    Args:
        formulas: the first, and the others.
        found: whose formulas they are.
        chosen: whether the others are plain enough, as those of loss terms are.
    """
    first, seen = formulas[0], {_full(formula, found) for formula in (formulas[0], *found.products)}
    # That a number of the batch is worth a product of the table, or a size what was counted.
    bare = all(map(numeral, first.symbols))
    chance = not named_in(first) and (not bare) and all((numeral(name) or 2) == 2 for name in first.symbols)
    counted = any(" " in name and not is_of_shape(name) for name in first.symbols)
    shaped = any(map(is_of_shape, first.symbols))
    # Nobody can look up a constant: one that is another constant over a count is as likely.
    constant = any((numeral(name) or 2) != 2 for name in first.symbols)
    likely: list[Formula] = []
    for formula in formulas[1:]:
        same, by_shape = _full(formula, found), any(map(is_of_shape, formula.symbols))
        room = PLAUSIBLE + (LITERAL_COST if constant and not is_weight(first) else 0.0)
        if by_shape:
            room = room + COUNTED if shaped or bare else min(room, BY_SHAPE)
        doubtful = (
            (chance and named_in(formula))
            or (by_shape and (counted or (is_weight(formula) and not chosen)))
            or any(_by_axes(other / formula) for other in (first, *likely))
        )
        plain = chosen or formula_plainness(formula) <= formula_plainness(first) + room
        again = any(map(numeral, formula.symbols)) and any(
            all(map(numeral, (formula / other).symbols)) for other in (first, *likely)
        )  # 0.5/n beside 1/(2·n)
        if same not in seen and not doubtful and plain and not again:
            likely.append(formula)
        seen.add(same)
    return likely


def _written(formula: Formula, first: Formula, found: Findings) -> str:
    """A formula with the numbers of the batch in it, and what those are that the first one has not."""
    numbers = named(found)
    text = substituted(formula, numbers)
    if text == substituted(first, numbers):
        return str(formula)
    new = [name for name in formula.symbols if name in numbers and name not in first.symbols]
    said = ", ".join(f"{numbers[name]:.6g} is {the(name)}" for name in new)
    return f"{text} ({said})" if said else text


def _another_batch(first: Formula, likely: list[Formula], found: Findings) -> str:
    """What a batch must be like for these formulas to give different numbers."""
    quotients = [formula / first for formula in likely]
    symbols = {name: None for each in quotients for name in each.symbols if numeral(name) is None}
    for full, there in (("W", "K"), ("S", "R")):  # K micro-batches of W
        if there in symbols:
            symbols.pop(full, None)
    worth = _worth(symbols, found)
    if len(likely) > MOST_TOLD and len(worth) == len(symbols):
        alike: dict[float, list[str]] = {}
        for name, value in worth.items():
            alike.setdefault(value, []).append(the(name))
        said = [f"{listed(names)} {'is' if len(names) == 1 else 'are'} {v:.6g}" for v, names in alike.items()]
        return f"here {'; '.join(said)}: a batch in which none of these is a product of others would"
    differ = dict.fromkeys(_differ(first, formula) for formula in likely[:MOST_TOLD])
    return f"a batch in which {listed(list(differ))} would"


def _worth(symbols: Iterable[str], found: Findings) -> dict[str, float]:
    """What those symbols are worth that have one value on this batch; a numeral is its own."""
    values = dict(found.explanation.numbers)
    for name, column in found.explanation.columns:
        inside = column[found.units.data]
        if np.ptp(inside) == 0:
            values[name] = float(inside[0])
    return {name: values[name] for name in symbols if name in values}


def _differ(first: Formula, second: Formula) -> str:
    """What must differ for two formulas to give different numbers: `n is not K·W`."""
    powers = (second / first).powers
    numerals = [(worth, power) for name, power in powers if (worth := numeral(name)) is not None]
    number = prod(worth**power for worth, power in numerals)
    symbols = [(name, power) for name, power in powers if numeral(name) is None]
    left = [_power(name, power) for name, power in symbols if power > 0]
    right = [_power(name, -power) for name, power in symbols if power < 0]
    if isclose(number, 1):
        left, right = sorted((left, right), key=lambda side: (len(side) == 0, len(side)))
        return f"{'·'.join(left)} is not {'·'.join(right) or 1}"
    if number > 1:
        left, right, number = right, left, 1 / number
    return f"{'·'.join(left)} is not {'·'.join([f'{1 / number:.6g}', *right])}"


def _power(name: str, power: int) -> str:
    return the(name) + SUPERSCRIPTS.get(power, f"^{power}")


def _by_axes(quotient: Formula) -> bool:
    """Whether two formulas differ by the axes of one tensor only: its entries are their product."""
    counted = [name.split(" or ") for name in quotient.symbols if " of batch" in name]
    tensors = [{name.rpartition(" of ")[2] for name in names} for names in counted]
    inside = all(name == "n" or is_of_shape(name) for name in quotient.symbols)
    return inside and bool(tensors and set.intersection(*tensors))


def named_in(formula: Formula) -> bool:
    """Whether a number that was counted from the batch stands in a formula."""
    return any(" " in name for name in formula.symbols)


def _full(formula: Formula, found: Findings) -> Formula:
    """The formula in one of two symbols that are the same here: K in a full window, R for all ranks."""
    numbers = dict(found.explanation.numbers)
    pairs = [("W", "K"), ("S", "R")]
    same = {a: b for a, b in pairs if a in numbers and numbers.get(b, numbers[a]) == numbers[a]}
    if len(found.units.parts) <= 1:
        whole = {"m_i": "d", "V_i": "d"} if "d" in numbers else {}
        same |= {"m_u": whole.get("m_i", "m_i"), "V_u": whole.get("V_i", "V_i"), **whole}
    return formula.replaced({a: Formula(((b, 1),)) for a, b in same.items()})


def listed(items: Sequence[str], word: str = "and") -> str:
    """`a, b and c`."""
    *others, last = items
    return f"{', '.join(others)} {word} {last}" if others else last


def the(name: str) -> str:
    """A symbol, or a number of the batch by what it is."""
    if name in SYMBOLS or name.startswith(("[", "(", "batch")):
        return name
    return f"the {name}" if name.startswith(MEASURES) else f"the number of {name}"
