"""The parts of a report's page: its cases with tables and charts, and the rows that its script shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from suite.algebra.discrepancy import ELSEWHERE, Verdict
from suite.algebra.pairs import cell_of_pairs, table
from suite.figures.discrepancy import Heatmap
from suite.figures.scale import Curve
from suite.report.heatmap import batches_of
from suite.report.load import narrow
from suite.report.page.charts import Line, chart
from suite.report.series import curves, paths
from suite.report.summaries import TABLE_COLUMNS, show

if TYPE_CHECKING:
    from suite.records.fields import Row
    from suite.report.run_result import RunResult

_COLOURS = 7


def case_sections(report: RunResult) -> list[dict[str, Any]]:
    """Each case: a line a pair of conventions, a chart of scales, and a chart of trajectories."""
    rates: dict[tuple[str, str, str], list[Row]] = {}
    for row in report.learning_rate_rows:
        if (row["optimizer"], row["hyperparameter"]) == ("SGD", "lr"):
            rates.setdefault((row["case"], row["convention"], row["reference"]), []).append(row)
    pairs: dict[str, dict[tuple[str, str], list[Row]]] = {}
    for row in report.of("discrepancy"):
        case = pairs.setdefault(row["case"], {})
        case.setdefault((row["convention"], row["reference"]), []).append(row)
    return [
        {
            "name": name,
            "id": slug("case", name),
            "batches": len({(row["batch_size"], row["batch"]) for rows in by_pair.values() for row in rows}),
            "lines": [
                _line(report, rows, rates.get((name, *ends), []))
                for ends, rows in by_pair.items()
                if ends[0] != ends[1]
            ],
            **_charts(narrow(report, [_literal(name)])),
        }
        for name, by_pair in pairs.items()
    ]


def glossary(report: RunResult) -> list[dict[str, Any]]:
    """The cards of the conventions of a run, those that are registered."""
    from suite.conventions import conventions

    rows = report.of("discrepancy")
    names = dict.fromkeys(name for row in rows for name in (row["convention"], row["reference"]))
    return [
        {
            "name": name,
            "id": slug("convention", name),
            "summary": conventions[name].summary,
            "rows": [
                (k, v)
                for k, v in conventions[name].card().items()
                if v and k not in ("convention", "summary")
            ],
        }
        for name in names
        if name in conventions
    ]


def _line(report: RunResult, rows: Sequence[Row], rates: Sequence[Row]) -> dict[str, str]:
    shown = TABLE_COLUMNS["discrepancies"]
    cells = {
        name: show(shown[name].cell(rows, report.formulas), shown[name].digits)
        for name in ("convention", "reference", "denominator", "scale", "relative_discrepancy", "residual",
                     "verdict", "reason")
    }  # fmt: skip
    cells["id"] = slug("row", rows[0]["case"], cells["convention"], cells["reference"])
    if rates:
        known = TABLE_COLUMNS["learning_rates"]
        for name in ("factor", "status", "distance", "distance_unchanged"):
            cells[name] = show(known[name].cell(rates, report.formulas), known[name].digits)
    if cells["reason"].endswith(ELSEWHERE):  # the direction beside it says so
        cells["reason"] = ""
    if cells["verdict"] == Verdict.IDENTICAL.value:  # whatever the formula, its value is 1 here
        cells |= {"scale": "1", "factor": "1"}
    return cells


def _charts(report: RunResult) -> dict[str, str]:
    found = [curve for curve in curves(report) if len(curve.sizes) > 1]
    sizes = sorted({size for curve in found for size in curve.sizes})
    scales = chart(
        [
            Line(_name(c), list(zip(c.sizes, c.scales, strict=True)), f"c{k % _COLOURS}")
            for k, c in enumerate(_merged(found)[:14])
        ],
        title="Scale of each convention against the batch size",
        x="batch size n",
        ticks=sizes,
        log_x=True,
    )
    trained = paths(report)
    steps = max((len(path.distances) for path in trained), default=0)
    named: set[str] = set()
    lines = []
    for path in trained:
        points = [(k + 1.0, d) for k, d in enumerate(path.distances) if d]
        if points:
            label = "" if path.remedy in named else _REMEDIES[path.remedy]
            named.add(path.remedy)
            lines.append(Line(label, points, "r-" + path.remedy.replace(" ", "-")))
    ticks = [float(k) for k in range(1, steps + 1, max(1, steps // 5))]
    apart = chart(
        lines,
        title="Relative distance of the weights of both trainings, step by step",
        x=f"step ({sum(not any(p.distances) for p in trained)} of {len(trained)} lines are 0 throughout)",
        ticks=ticks,
        log_x=False,
    )
    sizes = sorted({row["batch_size"] for row in report.of("training_check")})
    return {"scales": scales, "trajectories": apart, "trained": " and ".join(map(str, sizes))}


_REMEDIES = {
    "unchanged": "same hyperparameters",
    "equivalent": "equivalent ones",
    "best constant": "best constant rate",
    "each step": "a rate each step",
}


def _merged(found: Sequence[Curve]) -> list[Curve]:
    """Curves that are the same line, whatever their family, with the names together."""
    from dataclasses import replace

    lines: dict[tuple[Any, ...], Curve] = {}
    for curve in found:
        key = curve.sizes, tuple(f"{scale:.6g}" for scale in curve.scales)
        lines[key] = replace(lines[key], names=lines[key].names + curve.names) if key in lines else curve
    return list(lines.values())


def _name(curve: Curve) -> str:
    more = f" +{len(curve.names) - 1}" if len(curve.names) > 1 else ""
    if curve.exponent is None:
        return f"{curve.names[0]}{more}"
    power = f"n^{curve.exponent:.2f}".replace("-", "−") if round(curve.exponent, 2) else "constant"
    return f"{curve.names[0]}{more} {power}"


def measurement_data(report: RunResult) -> dict[str, Any]:
    """The discrepancies for the page's script: each text once, numbers with six digits."""
    texts: dict[str, int] = {}

    def text(value: object) -> int:
        return texts.setdefault(str(value), len(texts))

    rows = [
        [
            text(row["case"]),
            row["batch_size"],
            text(row["batch"]),
            text(row["convention"]),
            text(row["reference"]),
            _short(row["scale"]),
            _short(row["relative_discrepancy"]),
            _short(row["residual"] if row["verdict"] == "direction" else 0.0),
            text(row["verdict"]),
            text(row.get("engine", "")),
            text(row["reason"] or ""),
        ]
        for row in report.of("discrepancy")
    ]
    return {"texts": list(texts), "rows": rows}


def heatmap_data(report: RunResult, overall: Heatmap) -> list[dict[str, Any]]:
    """The heat map of all cases and that of each: scales above the diagonal, residuals below it."""
    reference = report.environment["reference"]
    found = [_matrix("all cases", overall.names, overall.pairs)]
    found[0]["of"] = overall.batches
    found[0]["same"] = [f"{name} = {', '.join(others)}" for name, others in overall.same.items() if others]
    found[0]["apart"] = [f"{', '.join(others)} from {name}" for name, others in overall.apart.items()]
    by_case: dict[str, list[Row]] = {}
    for kind in ("discrepancy", "pair"):
        for row in report.of(kind):
            by_case.setdefault(row["case"], []).append(row)
    for name in overall.cases:
        pairs = table(by_case[name], name, reference)
        names = [
            name for name in dict.fromkeys((*overall.names, *(a for a, _ in pairs))) if (name, name) in pairs
        ]
        found.append(_matrix(name, names, pairs))
        found[-1]["of"] = batches_of([cell_of_pairs(by_case[name], name)])
    return found


def _matrix(title: str, names: Sequence[str], pairs: Any) -> dict[str, Any]:
    cells: list[float | None] = []
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            pair = pairs.get((a, b))
            cells.append(None if pair is None or i == j else _short(pair.scale if j > i else pair.residual))
    return {"title": title, "names": list(names), "cells": cells, "same": [], "apart": []}


def slug(*parts: object) -> str:
    """An identifier for a link, from names that may hold anything."""
    return "-".join(re.sub(r"[\W_]+", "-", str(part).lower()).strip("-") or "x" for part in parts)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def _literal(name: str) -> str:
    """A glob pattern that matches this very name."""
    return re.sub(r"([*?[])", r"[\1]", name)
