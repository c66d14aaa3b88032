"""Compare two runs: verdicts that changed, numbers beyond rounding, rows that are new or gone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suite.records.diff import Diff, RowChange

SHOWN = 100

EPILOG = """\
examples:
  gradsuite diff results/reference/cpu results/all
  gradsuite diff old new --format markdown

A number has changed if it moved by more than rounding can move it; the bound is derived from the rows
themselves. Slower timings are a warning.

exit codes: 0 nothing changed, 1 something did, 2 the input is wrong.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `gradsuite diff`."""
    parser.add_argument("baseline", type=Path, metavar="BASELINE", help="a folder, or its records.jsonl[.gz]")
    parser.add_argument("run", type=Path, metavar="RUN", help="the same, of another run")
    parser.add_argument(
        "--format", choices=("text", "markdown"), default="text", help="output format (default: text)"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Print what changed; 1 if anything did."""
    from suite.records.diff import diff
    from suite.records.file import read

    found = diff(read(arguments.baseline), read(arguments.run))
    print(markdown(found) if arguments.format == "markdown" else text(found))
    return 1 if found.changes else 0


def text(found: Diff) -> str:
    """For the terminal: a line a change."""
    from suite.machine.terminal import coloured

    lines = [coloured(_summary(found), "red" if found.changes else "green", sys.stdout)]
    lines += [f"  {_where(change)}: {_what(change)}" for change in found.changes[:SHOWN]]
    lines += [f"  … and {len(found.changes) - SHOWN} more"] if len(found.changes) > SHOWN else []
    lines += ["Measured differently:", *(f"  {note}" for note in found.notes)] if found.notes else []
    lines += [coloured(f"Warning: {line}", "yellow", sys.stdout) for line in found.warnings]
    return "\n".join(lines)


def markdown(found: Diff) -> str:
    """For a pull request or an issue."""
    lines = [f"**{_summary(found)}**", ""]
    if found.changes:
        lines += ["| row | what | before | after | rounding could |", "|---|---|---|---|---|"]
        for change in found.changes[:SHOWN]:
            bound = "" if change.bound is None else f"{change.bound:.2g}"
            cells = [_where(change), change.what, _value(change.before), _value(change.after), bound]
            lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
        more = len(found.changes) - SHOWN
        lines += ["", f"… and {more} more."] if more > 0 else []
    if found.notes:
        lines += ["", "Measured differently:", "", *(f"- {note}" for note in found.notes)]
    if found.warnings:
        lines += ["", "Slower, with the same results:", "", *(f"- {line}" for line in found.warnings)]
    return "\n".join(lines)


def _summary(found: Diff) -> str:
    if not found.changes:
        return f"No change: {found.compared} rows agree to rounding."
    rows = {id(change.row) for change in found.changes}
    kinds = {"new": 0, "gone": 0, "verdict": 0, "other": 0}
    for change in found.changes:
        kinds[change.what if change.what in kinds else "other"] += 1
    return (
        f"Changes in {len(rows)} rows; {found.compared} were compared: {kinds['verdict']} verdicts and "
        f"{kinds['other']} values changed, {kinds['new']} rows are new, {kinds['gone']} are gone."
    )


def _where(change: RowChange) -> str:
    where = change.where
    named = " ≠ ".join(str(where.pop(key)) for key in ("convention", "reference") if key in where)
    words = {"batch_size": "batch size ", "batch": "batch ", "optimizer": "", "case": "", "claim": ""}
    found = [f"{words[key]}{value}" for key, value in where.items()]
    return ", ".join([*found, *([named] if named else [])])


def _what(change: RowChange) -> str:
    if change.what in ("new", "gone"):
        return f"{change.what} ({_value(change.after if change.what == 'new' else change.before)})"
    told = f"{change.what} {_value(change.before)} → {_value(change.after)}"
    if change.bound is None:
        return told
    return f"{told}, by {abs(change.after - change.before):.2g}; rounding could by {change.bound:.2g}"


def _value(value: Any) -> str:
    return "–" if value is None else repr(value) if isinstance(value, float) else str(value)
