"""The table of papers as a page that is searched and sorted, and as CSV, both with the places in code."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from html import escape
from importlib import resources

from suite.report.paper_table import PAPER_COLUMNS, PaperRow, paper_rows


def papers_page(patterns: Sequence[str] = ()) -> str:
    """An HTML page without anything from elsewhere: a field to search in, and headers to sort by.

    Raises:
        UsageError: A pattern matches nothing.
    """
    page = (resources.files("suite.report.page") / "papers.html").read_text(encoding="utf-8")
    rows = paper_rows(patterns)
    head = "".join(
        f'<th scope="col" aria-sort="none"><button type="button">{escape(name)}</button></th>'
        for name in (*PAPER_COLUMNS, "read at")
    )
    body = "\n".join(_html_row(row) for row in rows)
    return page.replace("{{count}}", str(len(rows))).replace("{{head}}", head).replace("{{body}}", body)


def _html_row(row: PaperRow) -> str:
    name, *rest = row.cells
    title = f"<small>{escape(row.paper.summary)}</small>"
    links = "<br>".join(
        f'<a href="{escape(source.url)}">{breakable(f"{source.repository}: {source.function}")}</a>'
        for source in row.sources
    )
    # The names are shown where the page is narrow, and a row is a block.
    named = zip(PAPER_COLUMNS[1:], map(escape, rest), strict=True)
    cells = "".join(f'<td data-name="{column}">{text}</td>' for column, text in (*named, ("read at", links)))
    return f'<tr id="{escape(name)}"><th scope="row">{escape(name)}{title}</th>{cells}</tr>'


def breakable(text: str) -> str:
    """The text in HTML, which a line may break after a slash or a point."""
    return escape(text).replace("/", "/<wbr>").replace(".", ".<wbr>")


def papers_csv(patterns: Sequence[str] = ()) -> str:
    """A row a paper, with the places in code in the last column.

    Raises:
        UsageError: A pattern matches nothing.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*PAPER_COLUMNS, "read at"])
    for row in paper_rows(patterns):
        writer.writerow([*row.cells, "; ".join(map(str, row.sources))])
    return file.getvalue()
