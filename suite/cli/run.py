"""Measure conventions on cases: tables of discrepancies and of equivalent learning rates."""

from __future__ import annotations

import argparse
import shlex
from datetime import UTC, datetime
from pathlib import Path

from suite.running.options import add_to, parsed


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `gradsuite run`."""
    add_to(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Run, print both tables, and say where the rest is."""
    from suite.running.run import run

    given = dict(parsed(arguments))
    folder = given.setdefault("output", Path("results") / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}")
    try:
        report = run(**given, progress=True)
    except KeyboardInterrupt:
        kept = f"What was measured is kept in {folder}; to go on" if folder.exists() else "To begin again"
        print(f"Interrupted. {kept}:\n  {_again(arguments, folder)}")
        return 130
    if report.measured:
        print(report)
        print()
    for line in report.remarks:
        print(line)
    print(f"Records and tables: {folder}")
    if not report.measured:
        return 2
    return 1 if report.failures else 0


def _again(arguments: argparse.Namespace, folder: Path) -> str:
    """The command that goes on with this run: as it was given, with its folder."""
    given = [word for word in arguments.argv if word != "--no-resume"]
    named = [] if "output" in arguments else ["--output", str(folder)]
    return shlex.join(["gradsuite", *given, *named])
