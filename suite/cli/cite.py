"""Print how to cite the suite, and what the conventions of a run rest on, as BibTeX."""

from __future__ import annotations

import argparse

EPILOG = """\
examples:
  gradsuite cite
  gradsuite cite results/all
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `gradsuite cite`."""
    what = "the folder of a run, whose papers and conventions are cited too"
    parser.add_argument("run", nargs="?", metavar="RUN", help=what)


def execute(arguments: argparse.Namespace) -> int:
    """Print BibTeX."""
    from suite.report.citations import entries, suite

    found = [suite()]
    if arguments.run is not None:
        from suite.report.load import load_run

        found += entries(row["convention"] for row in load_run(arguments.run).of("discrepancy"))
    print("\n\n".join(found))
    return 0
