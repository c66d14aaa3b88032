"""Earlier runs: the folders beside a run that hold runs too, and what changed since each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.errors import UsageError, one_line
from suite.records.fields import Row
from suite.records.file import FILE, read
from suite.report.provenance import provenance, started

_KEYS = ("case", "batch_size", "batch", "convention", "reference")
MOST_RUNS = 20
"""So many of the latest earlier runs are read."""


@dataclass(frozen=True)
class Earlier:
    """A run that was made before.

    Args:
        name: of its folder.
        started: when, as it was recorded; empty where it cannot be read.
        about: commit, versions and device in one line, or why it cannot be read.
        measured: how many discrepancies it holds.
        failed: how many failures.
        shared: how many of its discrepancies this run has too.
        changed: those of them whose verdict is another now, `what: before → now`.
    """

    name: str
    started: str
    about: str
    measured: int = 0
    failed: int = 0
    shared: int = 0
    changed: tuple[str, ...] = ()


def history(run: Path, rows: list[Row]) -> list[Earlier]:
    """The runs beside `run` that were started before it, the latest first."""
    folder = (run if run.is_dir() else run.parent).resolve()
    now = {_key(row): row["verdict"] for row in _discrepancies(rows)}
    found = []
    beside = [path for path in folder.parent.iterdir() if path != folder and (path / FILE).is_file()]
    for path in sorted(beside, key=lambda p: (p / FILE).stat().st_mtime, reverse=True)[:MOST_RUNS]:
        try:
            before = read(path)
        except UsageError as error:
            found.append(Earlier(path.name, "", f"cannot be read: {one_line(error)}"))
            continue
        if started(before) <= started(rows):
            found.append(_compare(path.name, before, now))
    return sorted(found, key=lambda earlier: earlier.started, reverse=True)


def _compare(name: str, before: list[Row], now: dict[tuple[Any, ...], str]) -> Earlier:
    old = {_key(row): row["verdict"] for row in _discrepancies(before)}
    shared = old.keys() & now.keys()
    changed = sorted(
        f"{key[0]}, batch size {key[1]}, batch {key[2]}, {key[3]} against {key[4]}: {old[key]} → {now[key]}"
        for key in shared
        if old[key] != now[key]
    )
    return Earlier(
        name=name,
        started=started(before),
        about=provenance(before[0], before),
        measured=len(old),
        failed=sum(row["kind"] == "failure" for row in before),
        shared=len(shared),
        changed=tuple(changed),
    )


def _discrepancies(rows: Iterable[Row]) -> Iterable[Row]:
    return (row for row in rows if row["kind"] == "discrepancy")


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[key] for key in _KEYS)
