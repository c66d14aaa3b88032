"""Make a table of a run's measurements, for a paper or for another program."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

FORMATS = ("text", "latex", "markdown", "csv", "html")
TABLE_KINDS = ("discrepancies", "learning_rates")

EPILOG = """\
examples:
  gradsuite table results/all --columns '?'
  gradsuite table results/all --case 'mse*' --columns case,convention,scale,residual
  gradsuite table results/all --kind learning_rates --format latex --label tab:rates --out rates.tex
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `gradsuite table`."""
    add = parser.add_argument
    add("run", metavar="RUN", help="the folder of a run")
    add("--kind", choices=TABLE_KINDS, default=TABLE_KINDS[0], help="which table (default: discrepancies)")
    add("--format", choices=FORMATS, default="text", help="output format (default: text)")
    add("--columns", metavar="NAME,…", default="", help="columns in this order; `?` names all of them")
    add("--case", action="append", default=[], metavar="GLOB", help="cases by name; repeatable")
    add("--convention", action="append", default=[], metavar="GLOB", help="conventions; repeatable")
    add("--caption", default="", help="replace the default caption")
    add("--label", default="", help="LaTeX label, for \\ref")
    add("--out", metavar="FILE", type=Path, help="write to FILE instead of standard output")


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
