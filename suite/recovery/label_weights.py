"""Weights that stand nowhere in the batch, one for each value of its labels: class weights of a criterion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import lgamma, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite.algebra.formula import Formula
from suite.algebra.units import Column, Units
from suite.recovery.contents import named_tensors
from suite.recovery.counts import is_whole

SYMBOL = "w_y"
MOST_LIKELY_CHANCE = 0.01
"""How likely it may be that weights in another order go with some labels of the batch too."""
LISTED = 8
"""How many labels are told with their weights."""
CONVENTIONS = {"Σw": "weighted-mean", "n": "sum-over-batch-size", "": "weighted-sum"}
"""What the weights are called once the units table has them, by what they are divided by."""


@dataclass(frozen=True)
class Labels:
    """A tensor of the batch with a whole number for each unit.

    Args:
        name: the expression that gives it.
        values: `[units told]` the labels.
        groups: for each label the mean weight of its units.
    """

    name: str
    values: Column
    groups: dict[float, float]


@dataclass(frozen=True)
class LabelWeights:
    """Weights as a table by label, over a sum.

    Args:
        formula: `w_y/Σw`, `w_y/n` or `w_y`.
        numbers: what its numbers are worth.
        column: `[units]` the weight of each unit's label; nan where its weight cannot be told.
        says: the table in a sentence.
    """

    formula: Formula
    numbers: tuple[tuple[str, float], ...]
    column: Column
    says: str


def by_label(weights: Column, error: Column, units: Units, batch: Any) -> LabelWeights | None:
    """The weights as a table by label, if that is no chance; None where they are not.

    Labels that follow the order of the samples say nothing: what is alike there may be a micro-batch.

    Args:
        weights: `[units]`, nan where they cannot be told.
        error: `[units]` their bounds.
        units: the units table.
        batch: the samples.
    """
    told = np.isfinite(weights) & units.data
    if told.sum() < 3:
        return None
    tried = list(_whole(units, batch))
    for labels in explaining(weights, error, units, batch):
        if _by_order(labels.values) or _chance(weights[told], labels) * len(tried) > MOST_LIKELY_CHANCE:
            continue
        return _table(labels, told, units.n)
    return None


def explaining(weights: Column, error: Column, units: Units, batch: Any) -> Iterator[Labels]:
    """The tensors of labels whose values say what the weights are."""
    told = np.isfinite(weights) & units.data
    known, slack = weights[told], np.nan_to_num(error[told])
    apart = slack.max(initial=0.0) + 1e-9 * np.abs(known).max(initial=0.0)
    if np.ptp(known) <= 2 * apart:
        return
    for name, values in _whole(units, batch):
        values = values[told]
        groups = {value: known[values == value] for value in np.unique(values).tolist()}
        several = 1 < len(groups) < len(known)
        if several and all(np.ptp(group) <= 2 * apart for group in groups.values()):
            means = {value: float(group.mean()) for value, group in groups.items()}
            yield Labels(name, values, {v: mean if abs(mean) > apart else 0.0 for v, mean in means.items()})


def _whole(units: Units, batch: Any) -> Iterator[tuple[str, Column]]:
    """`[units]` the tensors with a whole number for each sample, or for each unit."""
    parts = max(1, len(units.parts))
    for name, tensor in named_tensors(batch, units.n):
        each = tensor.numel() == units.n * parts and int(units.data.sum()) == units.n * parts
        if len(tensor) != units.n or tensor.is_complex() or not (each or tensor.numel() == units.n):
            continue
        if is_whole(tensor):
            rows = tensor.reshape(units.n, -1).double().cpu().numpy()
            yield name, rows[units.sample, units.part if rows.shape[1] > 1 else 0]


def _by_order(labels: Column) -> bool:
    """Whether labels stand in runs of one each, or take turns."""
    runs = 1 + int((np.diff(labels) != 0).sum())
    turns = any((labels[step:] == labels[:-step]).all() for step in range(1, len(labels) // 2 + 1))
    return turns or runs <= len(np.unique(labels)) + 1


def _chance(known: Column, labels: Labels) -> float:
    """How likely weights in any order are as alike for each label: ways to do it, over all orders."""
    sizes = [int((labels.values == value).sum()) for value in labels.groups]
    means = np.array(list(labels.groups.values()))
    same = np.isclose(means[:, None], means[None], rtol=1e-6, atol=0.0).argmax(axis=1)
    distinct = np.unique(same)
    totals = [sum(size for size, which in zip(sizes, same, strict=True) if which == d) for d in distinct]
    orders = lgamma(len(known) + 1) - sum(lgamma(total + 1) for total in totals)
    ways = len(sizes) * log(len(distinct))
    if len(distinct) ** len(sizes) <= 512:
        chosen = product(range(len(distinct)), repeat=len(sizes))
        ways = log(sum(
            all(sum(s for s, c in zip(sizes, one, strict=True) if c == d) == t for d, t in enumerate(totals))
            for one in chosen
        ))  # fmt: skip
    return float(np.exp(ways - orders))


def _table(labels: Labels, told: NDArray[np.bool_], n: int) -> LabelWeights:
    """The weights as people write them: over their sum where they add up to one, or else over n or alone."""
    found = np.array([labels.groups[value] for value in labels.values.tolist()])
    under, scales = "", [1.0]
    if abs(found.sum() - 1) <= 1e-6:
        under, scales = "Σw", [1 / weight for weight in labels.groups.values() if weight > 0]
    elif _digits(labels, n) <= _digits(labels, 1.0):
        under, scales = "n", [float(n)]
    scale = min(scales, key=lambda factor: _digits(labels, factor))
    column = np.full(len(told), np.nan)
    column[told] = scale * found
    listed = [f"{scale * weight:.6g} for {value:g}" for value, weight in labels.groups.items()]
    more = f" and {len(listed) - LISTED} more" if len(listed) > LISTED else ""
    known = ", up to a common factor" if under == "Σw" else ""
    says = (
        f"{SYMBOL} is one weight for each value of {labels.name}{known}: {', '.join(listed[:LISTED])}{more}. "
        f"With these in the column 'weight' of the units table, the step is {CONVENTIONS[under]}."
    )
    numbers = {"Σw": float(scale * found.sum()), "n": float(n)}
    formula = Formula(((SYMBOL, 1), *([(under, -1)] if under else [])))
    return LabelWeights(formula, tuple((k, v) for k, v in numbers.items() if k == under), column, says)


def _digits(labels: Labels, scale: float) -> int:
    """How many digits the weights have, times this, as they are written."""
    written = [f"{abs(scale * weight):.6g}".partition("e")[0] for weight in labels.groups.values()]
    return sum(len(text.replace(".", "").strip("0")) for text in written)
