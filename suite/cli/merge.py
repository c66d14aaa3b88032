"""Put runs together: the parts of `gradsuite run --shard`, or runs of different things."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

EPILOG = """\
examples:
  gradsuite run --shard 1/2 --output part-1
  gradsuite run --shard 2/2 --output part-2
  gradsuite merge part-1 part-2 --output results/all
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `gradsuite merge`."""
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folders of runs, or their records.jsonl"
    )
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder of the joined run")


def execute(arguments: argparse.Namespace) -> int:
    """Merge, write the tables, and say how much there is."""
    from suite.equivalence.laws import LAWS
    from suite.records.merge import merge
    from suite.report import OPTIMIZERS
    from suite.report.run_result import RunResult

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    rows = merge(arguments.runs, arguments.output, say)
    report = RunResult(rows, tuple(law.name for law in LAWS.match(OPTIMIZERS)))
    report.write(arguments.output)
    for line in report.remarks:
        print(line)
    count = len(rows) - len(report.of("environment"))
    print(f"{count} rows of {len(arguments.runs)} runs. Records and tables: {arguments.output}")
    return 1 if report.failures else 0
