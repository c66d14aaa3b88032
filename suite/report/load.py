"""A run from its folder, cut down to the cases and conventions that were asked for."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from pathlib import Path

from suite.errors import UsageError, unknown
from suite.records.file import read
from suite.report import OPTIMIZERS
from suite.report.run_result import RunResult


def load_run(run: str | Path, cases: Sequence[str] = (), conventions: Sequence[str] = ()) -> RunResult:
    """The report of a run.

    Args:
        run: its folder, or the file of its records.
        cases: glob patterns of names; all where there is none.
        conventions: glob patterns of names; all where there is none.

    Raises:
        UsageError: There is no run, a record is not sound, or a pattern matches nothing in the run.
    """
    return narrow(RunResult(read(Path(run)), OPTIMIZERS), cases, conventions)


def narrow(report: RunResult, cases: Sequence[str] = (), conventions: Sequence[str] = ()) -> RunResult:
    """The rows of `report` for these cases and conventions, with what is of the whole run."""
    rows = report.rows
    if cases:
        wanted = _matching("case", cases, (r["case"] for r in rows if "case" in r))
        rows = [r for r in rows if r.get("case") in wanted or "case" not in r]
    if conventions:
        wanted = _matching("convention", conventions, (r["convention"] for r in rows if "convention" in r))
        ends = wanted | {report.environment["reference"]}
        rows = [
            r
            for r in rows
            if "convention" not in r
            or (r["convention"] in wanted and r["kind"] != "pair")
            or (r["kind"] == "pair" and {r["convention"], r["reference"]} <= ends)
        ]
    return RunResult(rows, report.optimizers)


def _matching(kind: str, patterns: Sequence[str], names: Iterable[str]) -> set[str]:
    known = set(names)
    found: set[str] = set()
    for pattern in patterns:
        matched = {name for name in known if fnmatch.fnmatchcase(name, pattern)}
        if not matched and not known:
            raise UsageError(f"the run holds no {kind}: leave out --{kind}")
        if not matched:
            raise unknown(f"{kind} of this run", pattern, known)
        found |= matched
    return found
