"""The report of a run as one page that needs nothing else: no network, no other file."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.algebra.columns import SIZES
from suite.report.heatmap import heatmap
from suite.report.page import sections
from suite.report.page.calculator import calculator
from suite.report.page.history import history
from suite.report.provenance import provenance
from suite.report.series import noise_scales
from suite.report.step_table import step_rows, step_table
from suite.report.tables import claim_table, discrepancy_table, learning_rate_table

if TYPE_CHECKING:
    from suite.report.run_result import RunResult


def render(report: RunResult, run: Path) -> str:
    """The page.

    Args:
        report: of the run.
        run: where it is; runs beside it are its history.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    page = resources.files("suite.report.page")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    template = environment.from_string((page / "page.html").read_text(encoding="utf-8"))
    # Styles and scripts are files of this package, tables and charts escape their own text.
    own = {
        name.partition(".")[0]: Markup((page / name).read_text(encoding="utf-8"))  # noqa: S704
        for name in ("style.css", "exact.js", "calculator.js", "heatmap.js", "measurements.js")
    }
    return template.render(**own, **_context(report, run, Markup))


def _context(report: RunResult, run: Path, markup: type[str]) -> dict[str, Any]:
    measured = report.of("discrepancy")
    overall = heatmap(report)
    cases = sections.case_sections(report)
    for case in cases:
        case |= {key: markup(case[key]) for key in ("scales", "trajectories")}
    summaries = [discrepancy_table(report), learning_rate_table(report)] if measured else []
    found = {
        "heatmaps": sections.heatmap_data(report, overall),
        "measurements": sections.measurement_data(report),
        "calculator": calculator(),
    }
    verdicts, steps = [row["verdict"] for row in measured], step_rows(report)
    return {
        "name": run.resolve().name,
        "environment": {k: v for k, v in report.environment.items() if k not in ("kind", "schema")},
        "provenance": provenance(report.environment, report.rows),
        "counts": {
            "cases": len(cases),
            "conventions": len({row["convention"] for row in measured}),
            "batches": len({(row["case"], row["batch_size"], row["batch"]) for row in measured}),
            "measurements": len(measured),
            "failures": len(report.failures),
        },
        "verdicts": {v: verdicts.count(v) for v in ("identical", "rounding", "scale", "direction")},
        "summaries": [markup(table.html()) for table in summaries],
        "claims": markup(claim_table(report).html()) if len(steps) < len(report.of("claim")) else None,
        "steps": markup(step_table(report).html()) if steps else None,
        "cases": cases,
        "noise": _noise(report),
        "glossary": (glossary := sections.glossary(report)),
        "cards": {card["name"]: card["summary"] for card in glossary},
        "card_ids": {card["name"]: card["id"] for card in glossary},
        "failures": report.failures,
        "refused": _refused(report),
        "omitted": _omitted(report),
        "history": history(run, report.rows),
        "data": found,
        "sizes": SIZES,
        "reference": report.environment["reference"],
    }


def _noise(report: RunResult) -> list[dict[str, Any]]:
    scales = noise_scales(report)
    return [
        {"case": case, "scale": None if noise.reason else noise.simple, "reason": noise.reason}
        for case, noise in sorted(scales.items(), key=lambda item: -item[1].simple)
    ]


def _refused(report: RunResult) -> list[tuple[str, str, str, str]]:
    found = {
        (row["case"], engine, row.get("engine", "")): reason
        for row in report.of("discrepancy")
        for engine, reason in row["refused"].items()
    }
    return [(*key, reason) for key, reason in sorted(found.items())]


def _omitted(report: RunResult) -> list[dict[str, Any]]:
    """What was left out, by reason: conventions that have it in the same cases are one line."""
    cases: dict[tuple[str, str], list[str]] = {}
    for case, convention, reason in sorted(
        {(row["case"], row["convention"], row["reason"]) for row in report.of("omitted")}
    ):
        cases.setdefault((reason, convention), []).append(case)
    lines: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (reason, convention), where in sorted(cases.items()):
        lines.setdefault((reason, tuple(where)), []).append(convention)
    return [
        {"reason": reason, "conventions": names, "cases": where, "pairs": len(names) * len(where)}
        for (reason, where), names in lines.items()
    ]
