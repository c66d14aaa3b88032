"""Measure conventions on cases: tables of discrepancies and of equivalent learning rates."""

from __future__ import annotations

import argparse
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

from suite.machine.signals import exit_code
from suite.machine.streams import OutputError, aside
from suite.machine.terminal import columns_of, wrapped
from suite.running.declaration import add_to, parsed
from suite.running.options import RunOptions

EPILOG = """\
examples:
  gradsuite run                                              everything, some minutes
  gradsuite run --quick --case 'mse*' --convention '*mean*'  a part of it
  gradsuite run --cases mine.py --case my-regression         a case of yours
  gradsuite run --convention 'fault:*'                       known mistakes
  gradsuite run --case 'claims/*'                            claims of forum threads, put to the test
  gradsuite run --case 'papers/*'                            the steps of papers, held against their cards
  gradsuite run -j 8 --time-limit 600 --output results/all   in 8 processes, unattended

The run prints two tables and writes DIR/records.jsonl, CSV files, and the tables as Markdown and LaTeX.
It can be killed at any moment: the same command with the same --output goes on. A stored result is
reused only if its code, data, machine and versions are unchanged.

With --memory, the run stops before measuring if a case cannot fit and prints the memory it needs.
Without it, only that case fails.

The training check trains both sides of each pair of conventions, with equivalent hyperparameters and
with unchanged ones, and compares the weights.

exit codes: 0 all is well, 1 a case failed and the others were measured, 2 the input is wrong,
130 interrupted.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `gradsuite run`."""
    add_to(parser, RunOptions)


def execute(arguments: argparse.Namespace) -> int:
    """Run, print both tables, and say where the rest is."""
    from suite.running.run import run

    given = dict(parsed(arguments, RunOptions))
    folder = given.setdefault("output", Path("results") / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}")
    try:
        with aside():
            report = run(**given, progress=True)
    except KeyboardInterrupt as error:
        kept = f"What was measured is kept in {folder}; to go on" if folder.exists() else "To begin again"
        print(f"Interrupted. {kept}:\n  {_again(arguments, folder)}")
        return exit_code(error)
    try:
        if report.measured:
            print(report)
            print()
        for line in report.remarks:
            print(wrapped(line, columns_of(sys.stdout)))
        print(f"Records and tables: {folder}", flush=True)
    except OutputError as error:
        raise OutputError(f"{error}; what was measured is kept in {folder}") from None
    if not report.measured:
        return 2
    return 1 if report.failures else 0


def _again(arguments: argparse.Namespace, folder: Path) -> str:
    """The command that goes on with this run: as it was given, with its folder."""
    given = [word for word in arguments.argv if word != "--no-resume"]
    named = [] if "output" in arguments else ["--output", str(folder)]
    return shlex.join(["gradsuite", *given, *named])
