"""The weights of a recovery, a line for each that differs, with the units that have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from suite.algebra.formula import SUPERSCRIPTS, Formula
from suite.algebra.search import literal
from suite.algebra.symbols import SYMBOLS
from suite.algebra.units import Column, Index, Units
from suite.recovery.findings import Findings

LINES = 24
RANGES = 4
"""How many lines a table has, and how many stretches of units a line names."""
DECISIVE = 1e-3
"""A bound of a weight, relative to it, that leaves no doubt which fraction it is."""
BY_CHANCE = 0.005
"""The same in the distances of such fractions."""


@dataclass(frozen=True)
class WeightLine:
    """Units that have one weight.

    Args:
        label: which units.
        weight: the number.
        share: the formula in numbers, or a fraction that equals it; empty where there is none.
    """

    label: str
    weight: str
    share: str


def lines(found: Findings) -> list[WeightLine]:
    """The table, in the order of the first unit of each line."""
    weights, error = shown(found)
    groups = _groups(weights, error, found)
    return [
        WeightLine(label(found.units, group), *_written(found, group, weights, error)) for group in groups
    ]


def shown(found: Findings) -> tuple[Column, Column]:
    """`[units]` the weights to be shown, and their bounds.

    Where the step is no weighting these are the weights beneath the cause, or else the nearest ones.
    """
    if found.linear:
        return found.weights, found.error
    beneath = None if found.cause is None else found.cause.weights
    weights = found.weights if beneath is None else beneath
    return weights, np.full(len(weights), 1e-6 * np.nanmax(np.abs(weights), initial=0.0))


def _groups(weights: Column, error: Column, found: Findings) -> list[Index]:
    """The units of each weight: alike within their errors, and in the formula where there is one."""
    padding = _padding(found)
    order = np.lexsort((padding, weights))  # what cannot be told comes last, and padding after it
    groups: list[list[int]] = []
    for unit in order:
        first = groups[-1][0] if groups else unit
        unknown = np.isnan(weights[[unit, first]])
        if unknown.all():
            same = bool(padding[unit] == padding[first])
        else:
            same = not unknown.any() and _alike(int(unit), first, weights, error, found.explanation.values)
        if groups and same:
            groups[-1].append(int(unit))
        else:
            groups.append([int(unit)])
    return sorted((np.sort(group) for group in groups), key=lambda group: int(group[0]))


def _padding(found: Findings) -> NDArray[np.bool_]:
    """`[units]` which units are positions without elements: no loss, so no gradient and no weight."""
    return np.asarray(found.units.data & (found.units.elements == 0))


def _alike(a: int, b: int, weights: Column, error: Column, values: Column | None) -> bool:
    if values is not None and np.isfinite(values[[a, b]]).all():
        return bool(np.isclose(values[a], values[b], rtol=1e-9, atol=0.0))
    return bool(abs(weights[a] - weights[b]) <= error[a] + error[b])


def _written(found: Findings, group: Index, weights: Column, error: Column) -> tuple[str, str]:
    """The weight of a group as a number, and as a formula or fraction that equals it."""
    if np.isnan(weights[group[0]]):
        return ("no gradient", "padding") if _padding(found)[group].all() else ("cannot tell", "")
    explanation, first = found.explanation, int(group[0])
    value = None if explanation.values is None else float(explanation.values[first])
    if value is not None and np.isfinite(value):
        formula = explanation.formulas[0] if explanation.formulas else _of_part(found, first)
        share = in_numbers(formula, first, found)
        return f"{value:.6g}", "" if share == f"{value:.6g}" else share
    weight = float(weights[group].mean())
    return f"{_plain(weight, float(error[group].min())):.6g}", fraction(
        weight, found.units.n, float(error[group].min())
    )


def _of_part(found: Findings, unit: int) -> Formula:
    return found.explanation.by_part[int(found.units.part[unit])][1]


def in_numbers(formula: Formula, unit: int, found: Findings) -> str:
    """A formula with the numbers of one unit; with its symbols where all units have the same."""
    varying = dict(found.explanation.columns)
    if not formula.varies and not any(name in varying for name in formula.symbols):
        return substituted(formula, named(found))
    values = dict(found.explanation.numbers)
    values |= {name: float(column[unit]) for name, column in varying.items()}
    if any(values.get(name) == 0 for name, power in formula.powers if power > 0):
        return "0"
    return substituted(formula, values)


def named(found: Findings) -> dict[str, float]:
    """The numbers that were counted from the batch: they are written as what they are worth."""
    return {name: value for name, value in found.explanation.numbers if " " in name}


def substituted(formula: Formula, values: Mapping[str, float]) -> str:
    """`formula` with numbers in the place of symbols."""

    def factor(name: str, power: int) -> str:
        if name.isdigit():
            return str(int(name) ** power)
        plain = name in SYMBOLS or " " not in name or name[0] in "(["
        symbol = f"{values[name]:.6g}" if name in values else name if plain else f"({name})"
        return f"{symbol}{SUPERSCRIPTS.get(power, f'^{power}')}"

    over = "·".join(factor(name, power) for name, power in formula.powers if power > 0) or "1"
    under = [factor(name, -power) for name, power in formula.powers if power < 0]
    below = f"({'·'.join(under)})" if len(under) > 1 else "".join(under)
    return f"{'−' if formula.negative else ''}{over}{'/' if under else ''}{below}"


def fraction(weight: float, n: int, error: float = 0.0) -> str:
    """`2/n`, `1/n` or `1/9` where `weight` is that and can be nothing else within its error; else empty.

    Empty too where it is a whole number, which says more than `70/n`.
    """
    slack = max(error, 1e-12 * abs(weight))
    if abs(weight) <= slack:
        return "0"
    if slack > DECISIVE * abs(weight) or abs(weight - round(weight)) <= slack:
        return ""
    whole = round(weight * n)
    if whole and abs(whole) < 100 and abs(weight * n - whole) <= n * slack and n * slack <= BY_CHANCE:
        return f"{whole}/n".replace("-", "−")
    found = literal(weight - slack, weight + slack)
    return "" if found is None or slack > BY_CHANCE * weight**2 else str(found)


def _plain(weight: float, error: float) -> float:
    """Zero, where that is within the error of the weight."""
    return 0.0 if abs(weight) <= error else weight


def label(units: Units, group: Index) -> str:
    """Which units these are: `samples 0 – 63 bce`, `samples 0, 3 – 5`, `regulariser`."""
    data = group[units.data[group]]
    found = ["regulariser"] if len(data) < len(group) else []
    if len(data):
        found.insert(0, _by_part(units, data) or _by_order(units, data))
    return " and ".join(found)


def _by_part(units: Units, data: Index) -> str:
    """The samples, then the parts, where each of these samples has each of these parts in the group."""
    samples, parts = np.unique(units.sample[data]), np.unique(units.part[data])
    several = len(units.parts) > 1
    if len(data) != len(samples) * len(parts):
        return ""
    if several and len(parts) > RANGES and len(parts) < len(units.parts):
        return ""  # tokens, rather than terms
    whole = not several or len(parts) == len(units.parts) > RANGES
    names = "" if whole else " " + ", ".join(part_name(units.parts[part]) for part in parts)
    return f"{'sample' if len(samples) == 1 else 'samples'} {_ranges(samples)}{names}"


def part_name(name: str) -> str:
    """A loss term by its name; `part 0` where nobody gave it one."""
    return f"part {name}" if name.isdigit() else name


def _by_order(units: Units, data: Index) -> str:
    """Stretches of neighbouring units, each by its first and its last."""

    def one(unit: int) -> str:
        return f"{units.sample[unit]} {units.parts[units.part[unit]]}"

    stretches = _stretches(data)
    said = [one(a) if a == b else f"{one(a)} – {one(b)}" for a, b in stretches[:RANGES]]
    more = sum(b - a + 1 for a, b in stretches[RANGES:])
    return f"{'sample' if len(data) == 1 else 'samples'} {', '.join(said)}" + _more(more)


def _ranges(samples: Index) -> str:
    stretches = _stretches(samples)
    said = [str(a) if a == b else f"{a} – {b}" for a, b in stretches[:RANGES]]
    return ", ".join(said) + _more(sum(b - a + 1 for a, b in stretches[RANGES:]))


def _stretches(sorted_numbers: Index) -> list[tuple[int, int]]:
    pieces = np.split(sorted_numbers, np.flatnonzero(np.diff(sorted_numbers) != 1) + 1)
    return [(int(piece[0]), int(piece[-1])) for piece in pieces]


def _more(count: int) -> str:
    return f" and {count} more" if count else ""
