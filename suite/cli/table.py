"""Make a table of a run's measurements, or of the papers, for a paper or for another program."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from suite.errors import UsageError
from suite.machine.terminal import columns_of

if TYPE_CHECKING:
    from suite.report.text_table import Table

FORMATS = ("text", "latex", "markdown", "csv", "html")
FORMATS_OF_FILES = {
    "": "text",
    ".txt": "text",
    ".tex": "latex",
    ".md": "markdown",
    ".csv": "csv",
    ".html": "html",
}
"""The format of a file, by the end of its name."""
TABLE_KINDS = ("discrepancies", "learning_rates")
PAPERS = "papers"
"""What stands for the papers in the place of the folder of a run: `./papers` is the folder of that name."""

EPILOG = """\
examples:
  gradsuite table results/all --columns '?'
  gradsuite table results/all --case 'mse*' --columns case,convention,scale,residual
  gradsuite table results/all --kind learning_rates --format latex --label tab:rates --out rates.tex
  gradsuite table papers --case 'retinanet-2017*'
  gradsuite table papers --format html --out papers.html

papers: what each computes, its factor of a plain mean, what to type into PyTorch, what cannot be matched, and
how it is known. As HTML it is a page that is searched and sorted, with links to the code.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `gradsuite table`."""
    add = parser.add_argument
    add("run", metavar="RUN", help="the folder of a run, or `papers`")
    add("--kind", choices=TABLE_KINDS, default=TABLE_KINDS[0], help="which table (default: discrepancies)")
    add("--format", choices=FORMATS, help="output format (default: that of FILE's name, or text)")
    add("--columns", metavar="NAME,…", default="", help="columns in this order; `?` names all of them")
    add("--case", action="append", default=[], metavar="GLOB", help="cases or papers by name; repeatable")
    add("--convention", action="append", default=[], metavar="GLOB", help="conventions; repeatable")
    add("--caption", default="", help="replace the default caption")
    add("--label", default="", help="LaTeX label, for \\ref")
    add("--out", metavar="FILE", type=Path, help="write to FILE instead of standard output")


def execute(arguments: argparse.Namespace) -> int:
    """Print or write one table.

    Raises:
        UsageError: There is no run, nothing in it that was asked for, or no such format.
    """
    from suite.machine.write import require_other, write

    if arguments.out is not None:
        require_other(arguments.out, Path(arguments.run))
    arguments.format = arguments.format or _format_of(arguments.out)
    text = _papers(arguments) if arguments.run == PAPERS else _measurements(arguments)
    if arguments.out is None:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
    else:
        write(arguments.out, text)
    return 0


def _format_of(out: Path | None) -> str:
    """The format that the name of a file stands for."""
    ending = "" if out is None else out.suffix.lower()
    if ending not in FORMATS_OF_FILES:
        raise UsageError(
            f"--out is {str(out)!r}: no table is made as {ending}; end its name in "
            f"{', '.join(filter(None, FORMATS_OF_FILES))}, or say --format"
        )
    return FORMATS_OF_FILES[ending]


def _papers(arguments: argparse.Namespace) -> str:
    """The table of the papers, or their page."""
    from suite.report.paper_table import PAPER_COLUMNS, paper_table
    from suite.report.papers_page import papers_csv, papers_page

    if arguments.convention:
        raise UsageError("--convention goes with a run: choose papers by --case")
    if arguments.columns.strip() == "?":
        return "\n".join(PAPER_COLUMNS)
    columns = [name.strip() for name in arguments.columns.split(",") if name.strip()]
    if arguments.format == "html" and not columns:
        return papers_page(arguments.case)
    if arguments.format == "csv" and not columns:
        return papers_csv(arguments.case)
    table = paper_table(arguments.case, columns, caption=arguments.caption, label=arguments.label)
    return _shown(table, arguments)


def _measurements(arguments: argparse.Namespace) -> str:
    """The table of a run."""
    from suite.report.load import load_run
    from suite.report.measurements import measurements
    from suite.report.summaries import TABLE_COLUMNS

    if arguments.columns.strip() == "?":
        return "\n".join(f"{c.name:24}{c.header}" for c in TABLE_COLUMNS[arguments.kind].values())
    table = measurements(
        load_run(arguments.run, arguments.case, arguments.convention),
        arguments.kind,
        [name.strip() for name in arguments.columns.split(",") if name.strip()],
        caption=arguments.caption,
        label=arguments.label,
        exact=arguments.format == "csv",
    )
    return _shown(table, arguments)


def _shown(table: Table, arguments: argparse.Namespace) -> str:
    """The table in its format; as wide as the terminal, where it is one."""
    if arguments.format == "text" and arguments.out is None:
        return table.text(columns_of(sys.stdout))
    found: str = getattr(table, arguments.format)()
    return found
