"""The report of a run: its rows as pandas frames, and the files that are made of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.algebra.significant import significant
from suite.algebra.units import UNSTATED
from suite.errors import UsageError
from suite.machine.terminal import columns_of
from suite.records.fields import TABLES, Row, csv_columns, fields_of
from suite.report.cells import spreadsheet_text
from suite.report.learning_rates import pair_of
from suite.report.rows import RunRows
from suite.report.step_table import step_rows, step_table
from suite.report.tables import claim_table, discrepancy_table, learning_rate_table

if TYPE_CHECKING:
    import pandas as pd

    from suite.report.text_table import Table


@dataclass(frozen=True)
class RunResult(RunRows):
    """What a run found: its rows as frames and tables. See `RunRows` for its fields."""

    @property
    def omitted(self) -> pd.DataFrame:
        """The conventions that were left out, by case, each with its reason."""
        return _frame(self.of("omitted"), "omitted")

    @cached_property
    def discrepancies(self) -> pd.DataFrame:
        """One row a case, batch size, batch, convention and reference."""
        rows = [
            {**row, "scale_is": None if (found := self.formulas.get(pair_of(row))) is None else str(found)}
            for row in self.of("discrepancy")
        ]
        return _frame(rows, "discrepancies")

    @cached_property
    def learning_rates(self) -> pd.DataFrame:
        """One row a case, batch size, number of samples, convention, optimizer and hyperparameter."""
        return _frame(self.learning_rate_rows, "learning_rates")

    @cached_property
    def claims(self) -> pd.DataFrame:
        """One row a claim of the threads that were asked for."""
        return _frame(self.of("claim"), "claims")

    @property
    def measured(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.of("discrepancy") or self.of("claim"))

    @property
    def tables(self) -> list[Table]:
        """Discrepancies and equivalent learning rates; claims and steps of papers if they were asked for."""
        return self._tables(brief=False)

    @property
    def remarks(self) -> list[str]:
        """What a reader of the tables must know: refused engines, omissions and failures."""
        lines = []
        refused = {
            (row["case"], engine, row["engine"], reason)
            for row in self.of("discrepancy")
            for engine, reason in row["refused"].items()
        }
        first = {key[:3]: key[3] for key in sorted(refused, reverse=True)}
        for (
            case,
            engine,
            instead,
        ), reason in sorted(first.items()):
            lines.append(
                f"Engine {engine} was refused for {case} and {instead} took over: {engine} {reason}."
            )
        unstated = {row["case"]: row["reason"] for row in self.of("omitted") if _UNSTATED in row["reason"]}
        for case, reason in unstated.items():
            lines.append(
                f"Warning: {case}: what divides by elements is left out: {reason}. State them in the case's "
                "`columns`: {'elements': …}, 1 if a sample is one element."
            )
        left_out = {(row["case"], row["convention"]) for row in self.of("omitted")}
        if left_out:
            lines.append(
                f"Left out where they do not apply: {len(left_out)} pairs of case and convention; "
                "the reasons are in records.jsonl."
            )
        trained = [row for row in self.of("training_check") if row.get("distance") is not None]
        if trained:
            most = max(row["distance"] for row in trained)
            parted = [row["distance_unchanged"] for row in trained if row["distance_unchanged"] is not None]
            lines.append(
                f"Checked by training {len(trained)} pairs for {trained[0]['steps']} steps: with equivalent "
                f"hyperparameters their weights differ by {significant(most, 2)} at most, "
                f"with the same ones by up to {significant(max(parted, default=0.0), 2)}."
            )
        for row in self.failures:
            known = {"batch size": row.get("batch_size"), "batch": row.get("batch")}
            where = "".join(f", {what} {value}" for what, value in known.items() if value is not None)
            lines.append(f"Failed: {row['case']}{where}: {row['reason']}")
        return lines

    def write(self, folder: Path) -> None:
        """Write the frames as CSV, and their summaries as Markdown and LaTeX, into `folder`.

        Raises:
            UsageError: A file cannot be written.
        """
        try:
            for name in ("discrepancies", "learning_rates", "claims"):
                frame: pd.DataFrame = getattr(self, name)
                if len(frame):
                    frame.map(spreadsheet_text).to_csv(folder / f"{name}.csv", index=False)
            for table in self.tables:
                (folder / f"{table.name}.md").write_text(table.markdown(), encoding="utf-8")
                (folder / f"{table.name}.tex").write_text(table.latex(), encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"cannot write tables to {folder} ({error.strerror}): the records are kept there"
            ) from None

    def __repr__(self) -> str:
        measured = self.of("discrepancy")
        counts = [_counted(len({row[key] for row in measured}), key) for key in ("case", "convention")] + [
            _counted(len(self.of(kind)), kind) for kind in ("claim", "failure") if self.of(kind)
        ]
        return f"<RunResult: {', '.join(counts)}; print() shows its tables>"

    def _repr_html_(self) -> str:
        """For notebooks: the tables, and what a reader of them must know."""
        remarks = "".join(f"<p>{escape(line)}</p>" for line in self.remarks)
        return "\n".join([*(table.html() for table in self._tables(brief=True)), remarks])

    def __str__(self) -> str:
        room = columns_of(sys.stdout)
        return "\n\n".join(table.text(room) for table in self._tables(brief=True))

    def _tables(self, *, brief: bool) -> list[Table]:
        found = []
        if self.of("discrepancy"):
            found += [discrepancy_table(self, brief=brief), learning_rate_table(self, brief=brief)]
        if len(step_rows(self)) < len(self.of("claim")):
            found.append(claim_table(self))
        return [*found, step_table(self)] if step_rows(self) else found


_UNSTATED = UNSTATED.partition("{")[0]


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _frame(rows: Iterable[Row], table: str) -> pd.DataFrame:
    import pandas as pd

    columns = csv_columns(table)
    flat = [{name: _flat(row.get(name)) for name in columns} for row in rows]
    frame = pd.DataFrame(flat, columns=list(columns))
    # What this device does not measure.
    rare = [field.name for field in fields_of(TABLES[table]) if field.csv and field.rare]
    return frame.drop(columns=[name for name in rare if frame[name].isna().all()])


def _flat(value: Any) -> Any:
    """A mapping as one cell of a table."""
    if isinstance(value, dict):
        return "; ".join(f"{key} {inner}" for key, inner in value.items())
    return value
