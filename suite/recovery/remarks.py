"""The sentences of a recovery's report: what else has these weights, and what cannot be told."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from suite.algebra.symbols import SYMBOLS, numeral
from suite.recovery.alternatives import alternatives, listed, the
from suite.recovery.findings import Findings
from suite.recovery.weight_lines import label, named, part_name, substituted

RESTORED = 6
ASKED = {
    "microbatch": "'microbatch' (with window=)",
    "rank": "'rank' (with world_size=)",
    "weight": "'weight'",
}
"""Columns that a units table may lack, as they are asked for."""


def remarks(found: Findings) -> list[str]:
    """All of them, in order."""
    return [
        *_beneath(found), *_mistakes(found), *_counted(found), *_same(found), *alternatives(found),
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


def _counted(found: Findings) -> Iterator[str]:
    """What the numbers of the formula are: counts of the batch, quantities of the table, constants."""
    numbers = dict(found.explanation.numbers)
    yield from _counted_of_terms(found)
    formula = found.formula
    if formula is None:
        return
    powers = dict(formula.powers)
    plain = [f"{name} = {numbers[name]:.6g}" for name in powers if name in numbers and name in SYMBOLS]
    if not found.linear or (found.convention is not None and found.scale == 1):  # the headline has a name
        plain = [f"Formula: {substituted(formula, named(found))}", *plain]
    if plain:
        yield f"{', '.join(plain)}."
    yield from found.explanation.notes
    for name, power in powers.items():
        place = "divisor" if power < 0 else "factor"
        if name in numbers and name not in SYMBOLS:
            # People divide by counts; beside n it may as well be a number of steps or of classes.
            beside = "n" in powers and numbers[name] == round(numbers[name])
            chance = "a constant or " if power > 0 or beside else ""
            yield f"The {place} is {numbers[name]:.6g}, {chance}{the(name)}."
        elif (numeral(name) or 2) != 2:
            drawn = ", or counts what the losses draw" if found.drawn and name.isdigit() else ""
            yield f"The {place} {name} is a constant{drawn}: neither the batch nor the units table counts it."


def _counted_of_terms(found: Findings) -> Iterator[str]:
    """What the counts in the formulas of loss terms are, once for all terms that have them."""
    numbers = dict(found.explanation.numbers)
    parts: dict[tuple[str, str], list[str]] = {}
    for part, formula in found.explanation.by_part:
        for name, power in formula.powers:
            if name in numbers and name not in SYMBOLS:
                parts.setdefault(("divisor" if power < 0 else "factor", name), []).append(part_name(part))
    for (place, name), those in parts.items():
        yield f"The {place} for {listed(those)} is {numbers[name]:.6g}, {the(name)}."


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
        yield f"The units table could say more: it has no column {listed(lacking, 'or')}."


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
    unheard = tuple(unit for unit in found.silent if found.units.elements[unit] > 0)  # no padding
    if unheard:
        yield f"{_listed(found, unheard)}: no gradient, so no weight can be told."
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
    if found.within:
        yield (
            f"The units are too many to be solved for one by one: each group ({found.within}) has a weight "
            "of its own, and a formula within. That no other weights have this gradient is not shown."
        )
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
