"""Make a table of a run's measurements, for a paper or for another program."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

FORMATS = ("text", "latex", "markdown", "csv", "html")
KINDS = ("discrepancies", "learning_rates")


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `gradsuite table`."""
    add = parser.add_argument
    add("run", metavar="RUN", help="the folder of a run")
    add("--kind", choices=KINDS, default=KINDS[0], help="of measurement (default: discrepancies)")
    add("--format", choices=FORMATS, default="text", help="(default: text)")
    add("--columns", metavar="NAME,…", default="", help="which, in this order; `?` names all there are")
    add("--case", action="append", default=[], metavar="GLOB", help="cases by name; repeatable")
    add("--convention", action="append", default=[], metavar="GLOB", help="conventions; repeatable")
    add("--caption", default="", help="instead of the one that says what is shown")
    add("--label", default="", help="for LaTeX's \\ref")
    add("--out", metavar="FILE", type=Path, help="instead of standard output")


def execute(arguments: argparse.Namespace) -> int:
    """Print or write one table."""
    from suite.machine.write import write
    from suite.report.columns import TABLE_COLUMNS
    from suite.report.load import load_run
    from suite.report.measurements import measurements

    if arguments.columns.strip() == "?":
        print("\n".join(f"{c.name:24}{c.header}" for c in TABLE_COLUMNS[arguments.kind].values()))
        return 0
    table = measurements(
        load_run(arguments.run, arguments.case, arguments.convention),
        arguments.kind,
        [name.strip() for name in arguments.columns.split(",") if name.strip()],
        caption=arguments.caption,
        label=arguments.label,
        exact=arguments.format == "csv",
    )
    text = getattr(table, arguments.format)()
    if arguments.out is None:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
    else:
        write(arguments.out, text)
    return 0
