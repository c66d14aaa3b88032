"""The sentences of a recovery's report: what else has these weights, and what cannot be told."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from suite.algebra.formula import Formula
from suite.algebra.symbols import CLIP, LITERAL_COST, SYMBOLS, numeral
from suite.recovery.explanation import formula_plainness
from suite.recovery.findings import Findings
from suite.recovery.weight_lines import label, named, substituted

PLAUSIBLE = 1.5
"""How much more complex than the plainest a formula may be to be told; `.formulas` has them all."""
ALTERNATIVES = 3
RESTORED = 6
MEASURES = ("size", "sum", "largest", "standard", "biased", "mean", "root")
"""What names of numbers begin with that are no counts."""
ASKED = {
    "microbatch": "'microbatch' (with window=)",
    "rank": "'rank' (with world_size=)",
    "weight": "'weight'",
}
"""Columns that a units table may lack, as they are asked for."""


def remarks(found: Findings) -> list[str]:
    """All of them, in order."""
    return [
        *_beneath(found), *_mistakes(found), *_counted(found), *_same(found), *_alternatives(found),
        *_asked(found), *_untold(found), *_conditions(found), _digits(found),
    ]  # fmt: skip


def _mistakes(found: Findings) -> Iterator[str]:
    if found.fault is not None:
        yield f"A known mistake: {found.fault.summary} ({found.fault.name})"
    yield from (suspect.says for suspect in found.suspects)


def _same(found: Findings) -> Iterator[str]:
    """Other names, and other conventions that only another batch would tell from this one."""
    if found.scale != 1 and found.formula is not None:
        return  # the headline has a formula, and need not have a name
    fault = None if found.fault is None else found.fault.name
    others: dict[str | None, list[str]] = {}
    for name, tell in zip(found.also, found.tells, strict=True):
        if name != fault:
            others.setdefault(tell, []).append(name)
    if None in others:
        yield f"Other names of it: {', '.join(others.pop(None))}."
    for tell, names in others.items():
        yield f"The same on this batch: {', '.join(names)}; a batch {tell} would tell."
    if found.unresolved:
        yield f"Rounding of {found.rounding} cannot tell it from {', '.join(found.unresolved)}."


def _alternatives(found: Findings) -> Iterator[str]:
    """Formulas that are no registered convention's and give the same numbers."""
    formulas = found.explanation.formulas
    if not formulas:
        return
    first, seen = formulas[0], {_full(formula, found) for formula in (formulas[0], *found.products)}
    # That a number of the batch is worth a product of the table, or a size what was counted.
    chance = not named_in(first) and not any(numeral(name) for name in first.symbols)
    counted = any(" " in name and not _of_shape(name) for name in first.symbols)
    # Nobody can look up a constant: one that is another constant over a count is as likely.
    constant = any((numeral(name) or 2) != 2 for name in first.symbols)
    room = PLAUSIBLE + (LITERAL_COST if constant else 0.0)
    likely: list[Formula] = []
    for formula in formulas[1:]:
        same = _full(formula, found)
        by_size = counted and any(map(_of_shape, formula.symbols))
        doubtful = (chance and named_in(formula)) or by_size or _by_shape(first / formula)
        if (
            same not in seen
            and not doubtful
            and formula_plainness(formula) <= formula_plainness(first) + room
        ):
            likely.append(formula)
        seen.add(same)
    if not likely:
        return
    worth = substituted(first, named(found))
    written = [(substituted(formula, named(found)), formula) for formula in likely[:ALTERNATIVES]]
    said = ", ".join(str(formula) if text == worth else text for text, formula in written)
    more = f" and {len(likely) - ALTERNATIVES} more" if len(likely) > ALTERNATIVES else ""
    if CLIP in first.symbols:
        yield (
            f"Clipping hides constant factors: it may be {said}{more}; a batch that is not clipped "
            "would tell."
        )
    else:
        differ = _differ(first, likely[0])
        yield f"This batch cannot tell it from {said}{more}; a batch in which {differ} would."


def _by_shape(quotient: Formula) -> bool:
    """Whether two formulas differ by the axes of one tensor only: its entries are their product."""
    tensors = {name.rpartition(" of ")[2] for name in quotient.symbols if " of batch" in name}
    inside = all(name == "n" or _of_shape(name) for name in quotient.symbols)
    return len(tensors) == 1 and inside


def _of_shape(name: str) -> bool:
    """Whether a number is the size of something, which everybody has and few divide by."""
    return name.startswith(("entries of", "size of axis"))


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


def _differ(first: Formula, second: Formula) -> str:
    """What must differ for two formulas to give different numbers."""
    symbols = [name for name in (first / second).symbols if numeral(name) is None]
    if len(symbols) == 1:
        return f"{the(symbols[0])} is another number"
    return f"{', '.join(map(the, symbols[:-1]))} and {the(symbols[-1])} do not agree"


def the(name: str) -> str:
    """A symbol, or a number of the batch by what it is."""
    if name in SYMBOLS:
        return name
    return f"the {name}" if name.startswith(MEASURES) else f"the number of {name}"


def _counted(found: Findings) -> Iterator[str]:
    """What the numbers of the formula are: counts of the batch, quantities of the table, constants."""
    numbers = dict(found.explanation.numbers)
    for part, its in found.explanation.by_part:
        for name, power in its.powers:
            if name in numbers and name not in SYMBOLS:
                place = "divisor" if power < 0 else "factor"
                yield f"The {place} for {part} is {numbers[name]:.6g}, {the(name)}."
    formula = found.formula
    if formula is None:
        return
    powers = dict(formula.powers)
    plain = [f"{name} = {numbers[name]:.6g}" for name in powers if name in numbers and name in SYMBOLS]
    if not found.linear or (found.convention is not None and found.scale == 1):  # the headline has a name
        plain = [f"Formula: {substituted(formula, named(found))}", *plain]
    if plain:
        yield f"{', '.join(plain)}."
    for name, power in powers.items():
        place = "divisor" if power < 0 else "factor"
        if name in numbers and name not in SYMBOLS:
            chance = "a constant or " if power > 0 else ""  # people divide by counts
            yield f"The {place} is {numbers[name]:.6g}, {chance}{the(name)}."
        elif (numeral(name) or 2) != 2:
            yield f"The {place} {name} is a constant: neither the batch nor the units table counts it."


def _asked(found: Findings) -> Iterator[str]:
    """Which columns could explain the weights, where nothing that is known does."""
    formula = found.formula
    # A number alone, but one: a half is 4/8 where eight samples were taken by two.
    bare = formula is not None and formula.symbols != () and all(map(numeral, formula.symbols))
    explained = formula is not None or found.explanation.by_part or found.convention is not None
    if not found.linear or (explained and not bare) or found.norm == 0:
        return
    yield from found.explanation.hints
    if found.explanation.hints:
        return
    lacking = [says for name, says in ASKED.items() if getattr(found.units, name) is None]
    if found.units.parts and found.units.part_kind == "terms" and found.units.term_weight is None:
        lacking.append("'term_weight'")
    if bool((found.units.elements[found.units.data] == 1).all()):
        lacking.append("'elements'")
    runs = _equal_shares(found) if found.units.microbatch is None and found.units.rank is None else []
    if runs:
        yield (
            f"Neighbours share equally, in runs of {', '.join(map(str, runs))} samples: if these are "
            f"micro-batches or ranks, say so in the column 'microbatch' (with window={len(runs)}) or 'rank'."
        )
    elif lacking:
        *others, last = lacking
        said = f"{', '.join(others)} or {last}" if others else last
        yield f"The units table could say more: it has no column {said}."


def _equal_shares(found: Findings) -> list[int]:
    """The lengths of runs of samples that have the same weight, if all runs have the same total."""
    weights, error, n = found.weights, found.error, found.units.n
    if len(weights) != n or not found.identifiable.all() or n < 2:
        return []
    ends = np.flatnonzero(np.abs(np.diff(weights)) > error[1:] + error[:-1]) + 1
    runs = np.split(np.arange(n), ends)
    totals = np.array([weights[run].sum() for run in runs])
    slack = np.array([error[run].sum() for run in runs])
    least = int(np.argmin(np.abs(totals)))
    if abs(totals[least]) <= slack[least]:
        return []
    # Neighbouring pieces of one size have one weight: their run has several shares.
    shares = np.maximum(np.round(totals / totals[least]), 1).astype(int)
    together = np.abs(totals - shares * totals[least]) <= slack + shares * slack[least]
    lengths = [len(run) // count for run, count in zip(runs, shares, strict=True) for _ in range(count)]
    whole = all(len(run) % count == 0 for run, count in zip(runs, shares, strict=True))
    if (shares > 1).any():  # nothing but a last piece that is shorter: others are counted twice
        whole = whole and len(set(lengths[:-1])) == 1 and lengths[-1] < lengths[0]
    return lengths if together.all() and whole and len(runs) > 1 and len(lengths) < n else []


def _beneath(found: Findings) -> Iterator[str]:
    cause = found.cause
    if found.linear or cause is None:
        return
    if cause.convention is not None:
        whose = "a multiple of those of" if cause.scale is None else "those of"
        scale = "" if cause.scale in (None, 1) else f"{cause.scale:.6g} × "
        yield f"Beneath it the weights are {whose} {scale}{cause.convention}."


def _untold(found: Findings) -> Iterator[str]:
    """Which weights cannot be told, and why."""
    if found.spans:
        yield (
            "The units' gradients span all parameters: any gradient is a weighting of these units, so "
            "only a larger model or a smaller batch can tell."
        )
    for group in found.groups:
        what = "have the same gradient" if group.duplicates else "have parallel gradients"
        known = (
            "not even their sum can be told"
            if group.total is None
            else f"only their {'sum' if group.duplicates else 'weighted sum'} can be told: {group.total:.6g}"
        )
        yield f"{_listed(found, group.units)} {what}: {known}."
    if found.silent:
        yield f"{_listed(found, found.silent)}: no gradient, so no weight can be told."
    grouped = {unit for group in found.groups for unit in group.units} | set(found.silent)
    rest = [unit for unit in np.flatnonzero(~found.identifiable).tolist() if unit not in grouped]
    if len(rest) == 1:
        yield f"{_listed(found, tuple(rest))} depends on others' gradients: its weight cannot be told."
    elif rest:
        yield f"{len(rest)} units depend on others' gradients: their weights cannot be told."


def _conditions(found: Findings) -> Iterator[str]:
    """What was done for the answer to hold."""
    if found.drawn and found.linear:
        yield "The losses draw random numbers: the step and the losses were given the same ones."
    if found.restored:
        names = ", ".join(found.restored[:RESTORED])
        more = f" and {len(found.restored) - RESTORED} more" if len(found.restored) > RESTORED else ""
        yield f"Changed, and put back after each run: {names}{more}."


def _listed(found: Findings, units: tuple[int, ...]) -> str:
    if len(units) <= 2:
        return ", ".join(label(found.units, np.array([unit])) for unit in units)
    return label(found.units, np.sort(np.array(units)))


def _digits(found: Findings) -> str:
    condition = "" if np.isnan(found.condition) else f"condition {found.condition:.2g}, "
    worst = np.max(found.error[found.identifiable], initial=0.0)
    allowed = f" (rounding of {found.rounding} may leave {found.tolerance:.2g})" if found.rounding else ""
    return f"Residual {found.residual:.2g}{allowed}, {condition}error at most {worst:.2g}."
