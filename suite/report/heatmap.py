"""Every convention against every other over the cases of a run: the numbers of the heat map."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from suite.algebra.discrepancy import Verdict
from suite.algebra.pairs import Pair, cell_of_pairs, table
from suite.figures.discrepancy import Heatmap

if TYPE_CHECKING:
    from suite.report.run_result import RunResult


def heatmap(report: RunResult) -> Heatmap:
    """The heat map of a run, in the order in which conventions are registered."""
    cases = tuple(dict.fromkeys(row["case"] for row in report.of("discrepancy")))
    reference = report.environment["reference"]
    rows = [row for kind in ("discrepancy", "pair") for row in report.of(kind)]
    tables = [table(rows, case, reference) for case in cases]
    found: dict[tuple[str, str], list[Pair]] = {}
    for pairs in tables:
        for ends, pair in pairs.items():
            found.setdefault(ends, []).append(pair)
    pooled = {ends: _pool(pairs) for ends, pairs in found.items()}
    order = _order(dict.fromkeys(a for a, _ in pooled))
    same = _same(order, found)
    names = tuple(same)
    kept = {ends: pooled[ends] for ends in itertools.product(names, names) if ends in pooled}
    batches = batches_of([cell_of_pairs(rows, case) for case in cases])
    return Heatmap(names, same, kept, cases, batches, _apart(same, report))


def batches_of(cells: Sequence[tuple[int, str]]) -> str:
    """One batch a case, in words: what pairs of conventions are measured on.

    >>> batches_of([(8, "0"), (8, "0"), (2, "0")])
    'one batch a case: the first of 8 samples (of 2 in 1 case)'
    """
    sizes = Counter(size for size, _ in cells)
    if not sizes:
        return ""
    (usual, _), *others = sizes.most_common()
    one = "one batch a case: " if len(cells) > 1 else "one batch: "
    more = ", ".join(f"of {size} in {n} case{'s' * (n != 1)}" for size, n in sorted(others))
    return f"{one}the first of {usual} sample{'s' * (usual != 1)}" + (f" ({more})" if more else "")


def _pool(pairs: list[Pair]) -> Pair:
    scales = [pair.scale for pair in pairs if pair.scale is not None]
    return Pair(max(scales, key=_farness, default=None), max(pair.residual for pair in pairs))


def _farness(scale: float) -> float:
    return abs(math.log(scale)) if scale > 0 else math.inf


def _order(names: Mapping[str, None]) -> list[str]:
    from suite.conventions import conventions

    known = [name for name in conventions.names if name in names]
    return known + [name for name in names if name not in known]


def _apart(same: Mapping[str, tuple[str, ...]], report: RunResult) -> dict[str, tuple[str, ...]]:
    """By name, what is the same on the batches of the map, and not on every batch of the run."""
    reference = report.environment["reference"]
    found: dict[str, dict[tuple[Any, ...], Pair]] = {reference: {}}
    for row in report.of("discrepancy"):
        if row["reference"] == reference:
            batch = row["case"], row["batch_size"], row["batch"]
            turned = row["residual"] if row["verdict"] == Verdict.DIRECTION.value else 0.0
            found.setdefault(row["convention"], {})[batch] = Pair(row["scale"], turned)
            found[reference][batch] = Pair(1.0, 0.0)

    def differ(a: str, b: str) -> bool:
        one, two = found.get(a, {}), found.get(b, {})
        return any(_differ(one[batch], two[batch]) for batch in one.keys() & two.keys())

    told = {first: tuple(name for name in others if differ(first, name)) for first, others in same.items()}
    return {first: others for first, others in told.items() if others}


def _differ(a: Pair, b: Pair) -> bool:
    """By more than the six digits that the page has of a number."""
    return any(f"{x or 0:.6g}" != f"{y or 0:.6g}" for x, y in ((a.scale, b.scale), (a.residual, b.residual)))


def _same(names: list[str], found: Mapping[tuple[str, str], list[Pair]]) -> dict[str, tuple[str, ...]]:
    """The first of each group of conventions that are one and the same, with the others."""
    groups: dict[str, list[str]] = {}
    for name in names:
        first = next((g for g in groups if set(found.get((name, g), ())) == {Pair(1.0, 0.0)}), None)
        if first is None:
            groups[name] = []
        else:
            groups[first].append(name)
    return {first: tuple(others) for first, others in groups.items()}
