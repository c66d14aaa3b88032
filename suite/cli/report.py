"""Write a run's report: one HTML page that works offline."""

from __future__ import annotations

import argparse
from pathlib import Path

from suite.errors import UsageError

EPILOG = """\
examples:
  gradsuite report results/all
  gradsuite report results/all --case 'mse*' --out mse.html
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `gradsuite report`."""
    parser.add_argument("run", metavar="RUN", help="the folder of a run")
    parser.add_argument("--out", metavar="FILE", type=Path, help="(default: report.html in the run's folder)")
    parser.add_argument("--case", action="append", default=[], metavar="GLOB", help="cases; repeatable")


def execute(arguments: argparse.Namespace) -> int:
    """Write the page and say where it is.

    Raises:
        UsageError: There is no run, or the page cannot be written.
    """
    from suite.machine.write import require_other, write
    from suite.report.load import load_run
    from suite.report.page.render import render

    if arguments.out is not None:
        require_other(arguments.out, Path(arguments.run))
    if arguments.out is not None and arguments.out.suffix.lower() not in ("", ".html", ".htm"):
        raise UsageError(
            f"--out is {str(arguments.out)!r}: the report is a page, NAME.html; a browser prints it as PDF"
        )
    run = Path(arguments.run)
    out = arguments.out or (run if run.is_dir() else run.parent) / "report.html"
    report = load_run(run, arguments.case)
    write(out, render(report, run))
    print(f"Report: {out}")
    return 0
