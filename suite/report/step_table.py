"""The table of the papers' steps that were run: each held against its card, and against the port."""

from __future__ import annotations

from suite.algebra.significant import significant
from suite.claim import STEP_PREFIX
from suite.records.fields import Row
from suite.report.rows import RunRows
from suite.report.text_table import Table


def step_rows(report: RunRows) -> list[Row]:
    """The claims of papers' steps."""
    return [row for row in report.of("claim") if row["case"].startswith(STEP_PREFIX)]


def step_table(report: RunRows) -> Table:
    """One row a paper: what its step computes, and how far the port is from it."""
    papers: dict[str, dict[str, Row]] = {}
    for row in step_rows(report):
        papers.setdefault(row["case"].removeprefix(STEP_PREFIX), {})[row["claim"]] = row
    return Table(
        name="steps",
        caption="Steps of papers, run: what they compute, and how far the port that people write is from it",
        headers=("paper", "recovered", "card", "port × step", "direction", "converted", "unchanged"),
        rows=[[name, *_cells(found)] for name, found in sorted(papers.items())],
        widths={"recovered": 34, "card": 30},
        paragraphs=("recovered", "card"),
        numbers=("direction", "converted", "unchanged"),
        spare=("unchanged", "converted"),
        notes=[
            "Card: whether gradient, clipping, optimizer and groups are what it says. Direction: the part "
            "of the port's gradient that no multiple of the step's explains. Converted, unchanged: how far "
            "apart card and port are after some steps with converted hyperparameters and with the same "
            "ones, relative to their way; – where no hyperparameters convert."
        ],
    )


def _cells(found: dict[str, Row]) -> list[str]:
    numbers = {claim: row["numbers"] for claim, row in found.items()}
    wrong = [f"{found[c]['measured']}" for c in ("gradient", "optimizer") if _fails(found, c)]
    wrong += [] if "gradient" in found else ["not measured"]
    scales = [scale for scale in numbers.get("port", {}).get("scales", []) if scale is not None]
    shown = [significant(scale, 4) for scale in (min(scales), max(scales))] if scales else ["–"]
    return [
        numbers.get("gradient", {}).get("formula") or "no product",
        "; ".join(wrong) or "holds",
        shown[0] if shown[0] == shown[-1] else "–".join(shown),
        *(
            "–" if numbers.get(claim, {}).get(key) is None else significant(numbers[claim][key], 2)
            for claim, key in (("port", "direction"), ("converted", "converted"), ("converted", "unchanged"))
        ),
    ]


def _fails(found: dict[str, Row], claim: str) -> bool:
    return claim in found and found[claim]["verdict"] != "holds"
