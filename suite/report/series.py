"""What goes against something: the scale against the batch size, and weights apart against steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from suite.batch_size.noise import NoiseScale
from suite.figures.scale import Curve
from suite.figures.trajectory import TrainingPath
from suite.records.fields import Row

if TYPE_CHECKING:
    from suite.report.run_result import RunResult


def curves(report: RunResult) -> list[Curve]:
    """One curve for each group of conventions, the steepest first."""
    reference = report.environment["reference"]
    rows: dict[str, list[Row]] = {}
    for row in report.of("discrepancy"):
        full = row["samples"] == row["batch_size"]
        if full and row["reference"] == reference != row["convention"] and (row["scale"] or 0) > 0:
            rows.setdefault(row["convention"], []).append(row)
    groups: dict[tuple[Any, ...], list[str]] = {}
    found: dict[str, Curve] = {}
    for name, group in rows.items():
        found[name] = curve = _curve(name, group)
        key = curve.family, curve.sizes, tuple(f"{scale:.6g}" for scale in curve.scales)
        groups.setdefault(key, []).append(name)
    merged = [replace(found[names[0]], names=tuple(names)) for names in groups.values()]
    return sorted(merged, key=lambda c: (c.scales[-1], len(c.sizes)), reverse=True)


def _curve(name: str, rows: Sequence[Row]) -> Curve:
    from suite.conventions import conventions

    sizes = sorted({row["batch_size"] for row in rows})
    at = [np.array([row["scale"] for row in rows if row["batch_size"] == size]) for size in sizes]
    return Curve(
        names=(name,),
        family=conventions[name].family if name in conventions else "others",
        sizes=tuple(sizes),
        scales=tuple(float(np.exp(np.log(scales).mean())) for scales in at),
        exponent=_exponent(rows),
    )


SAME_LAW = 0.01
"""By how much, relative, a scale may be off a power of n that is called one."""


def _exponent(rows: Sequence[Row]) -> float | None:
    """The slope that all cases have, each with an intercept of its own; None where they have no one law."""
    products = squares = 0.0
    centred = []
    for case in {row["case"] for row in rows}:
        points = [(np.log(r["batch_size"]), np.log(r["scale"])) for r in rows if r["case"] == case]
        x, y = np.array(points).T
        x, y = x - x.mean(), y - y.mean()
        centred.append((x, y))
        products += float(x @ y)
        squares += float(x @ x)
    if squares == 0:
        return None
    slope = products / squares
    return slope if all(np.abs(y - slope * x).max() <= SAME_LAW for x, y in centred) else None


REMEDIES = {
    "distance_unchanged_by_step": "unchanged",
    "distance_best_constant_by_step": "best constant",
    "distance_per_step_by_step": "each step",
    "distance_by_step": "equivalent",
}


def paths(report: RunResult) -> list[TrainingPath]:
    """Two for each training check."""
    return [
        TrainingPath(
            row["case"],
            row["convention"],
            row["reference"],
            row["optimizer"],
            remedy,
            tuple(row[key]),
            row["batch_size"],
        )
        for row in report.of("training_check")
        for key, remedy in REMEDIES.items()
        if row.get(key)
    ]


def noise_scales(report: RunResult) -> dict[str, NoiseScale]:
    """The gradient noise scale of each case, pooled over the batches of its largest size.

    Batches of one size share no samples; those of another size would count some twice.
    """
    by_case: dict[str, list[Row]] = {}
    for row in report.of("noise"):
        by_case.setdefault(row["case"], []).append(row)
    return {case: _pooled(rows) for case, rows in by_case.items()}


def _pooled(rows: Sequence[Row]) -> NoiseScale:
    largest = max(row["batch_size"] for row in rows)
    rows = [row for row in rows if row["batch_size"] == largest]
    weights = [row["samples"] - 1 for row in rows]
    trace, square = (np.average([row[k] for row in rows], weights=weights) for k in ("trace", "square"))
    return NoiseScale(float(trace), float(square), sum(row["samples"] for row in rows))
