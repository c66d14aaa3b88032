"""A table of measurements with columns of one's choice: rows that agree in the key columns share a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from suite.errors import unknown
from suite.report.provenance import provenance
from suite.report.summaries import DEFAULTS, TABLE_COLUMNS, TableColumn, show
from suite.report.text_table import Table

if TYPE_CHECKING:
    from suite.records.fields import Row
    from suite.report.run_result import RunResult

_TITLES = {
    "discrepancies": "Discrepancy of gradient conventions",
    "learning_rates": "Hyperparameters that take the same steps, as factors",
}
_SPARE = ("denominator", "distance", "distance_unchanged")
"""The columns that a narrow terminal does without, unless somebody asked for them."""


def measurements(
    report: RunResult,
    kind: str = "discrepancies",
    columns: Sequence[str] = (),
    *,
    caption: str = "",
    label: str = "",
    exact: bool = False,
) -> Table:
    """A table of one kind of row.

    Args:
        report: of the run.
        kind: a key of `suite.report.summaries.TABLE_COLUMNS`.
        columns: their names; those of a paper's main table where there is none.
        caption: says what is shown where it is empty.
        label: for LaTeX.
        exact: for machines: the columns' names above them, numbers with all digits, nothing for none.

    Raises:
        UsageError: There is no such column.
    """
    known = TABLE_COLUMNS[kind]
    chosen = [_column(name, kind) for name in columns or DEFAULTS[kind]]
    rows = report.of("discrepancy") if kind == "discrepancies" else report.learning_rate_rows
    if not columns:
        rows = [row for row in rows if row["convention"] != row["reference"]]
        chosen = _without_constant(chosen, rows)
    chosen, rows = _one_reference(report, kind, chosen, rows)
    lines: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        lines.setdefault(tuple(row.get(c.name) for c in chosen if c.key), []).append(row)
    digits = [0 if exact else column.digits for column in chosen]
    cells = [[c.cell(group, report.formulas) for c in chosen] for group in lines.values()]
    none = "" if exact else "–"
    body = [[none if v is None else show(v, d) for v, d in zip(line, digits, strict=True)] for line in cells]
    numbers = [c.header for c in chosen if c.digits]
    shared = [
        f"{known[c].header} {rows[0][c]}"
        for c in ("reference",)
        if rows and c not in {x.name for x in chosen} and len({row[c] for row in rows}) == 1
    ]
    return Table(
        name=kind,
        caption=caption or ", ".join([_TITLES[kind], *shared]) + _over(report, lines),
        headers=[c.name if exact else c.header for c in chosen],
        rows=body,
        notes=notes(report, chosen),
        numbers=numbers,
        label=label,
        spare=[c.header for c in chosen if c.name in _SPARE and not columns],
    )


def notes(report: RunResult, chosen: Sequence[TableColumn]) -> list[str]:
    """What the columns mean, and what the numbers were made with."""
    names = {column.name for column in chosen}
    lines = []
    if names & {"scale", "factor"}:
        lines.append(f"Scale: {report.legend}.")
    if "residual" in names:
        lines.append("Direction: the part of the gradient that no learning rate repairs.")
    if names & {"distance", "distance_unchanged", "distance_best_constant", "distance_per_step"}:
        lines.append("Apart: the largest relative distance of the weights of both trainings over all steps.")
    return [*lines, provenance(report.environment, report.rows)]


def _column(name: str, kind: str) -> TableColumn:
    if name not in TABLE_COLUMNS[kind]:
        raise unknown(f"column of {kind}", name, TABLE_COLUMNS[kind], "--columns ?")
    return TABLE_COLUMNS[kind][name]


def _without_constant(chosen: list[TableColumn], rows: Sequence[Row]) -> list[TableColumn]:
    """Without the reference where it is the same in all rows: the caption says it."""
    same = len({row["reference"] for row in rows}) == 1
    return [column for column in chosen if not (same and column.name == "reference")]


def _one_reference(
    report: RunResult, kind: str, chosen: list[TableColumn], rows: list[Row]
) -> tuple[list[TableColumn], list[Row]]:
    """Numbers against different references share no line: the reference is a column, or one alone."""
    if any(column.name == "reference" for column in chosen) or len({row["reference"] for row in rows}) <= 1:
        return chosen, rows
    place = next((k + 1 for k, column in enumerate(chosen) if column.name == "convention"), None)
    if place is not None:
        return [*chosen[:place], TABLE_COLUMNS[kind]["reference"], *chosen[place:]], rows
    reference = report.environment["reference"]
    return chosen, [row for row in rows if row["reference"] == reference]


def _over(report: RunResult, lines: dict[tuple[Any, ...], list[Row]]) -> str:
    """Over what the extremes of each line are taken."""
    if all(len(group) == 1 for group in lines.values()):
        return ""
    cases = {row["case"] for row in report.of("discrepancy")}
    batches = {(row["case"], row["batch_size"], row["batch"]) for row in report.of("discrepancy")}
    where = f"of {next(iter(cases))}" if len(cases) == 1 else f"of {len(cases)} cases"
    return f": the largest over up to {len(batches)} batches {where}"
