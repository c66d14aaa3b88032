"""A table with its caption and notes, for the terminal, Markdown, LaTeX, CSV and HTML."""

from __future__ import annotations

import csv
import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape

from tabulate import tabulate

from suite.machine.terminal import fitted, header_widths, narrowest
from suite.report.cells import spreadsheet_text
from suite.report.latex import breaking, latex_cell, latex_escape, packages

_LINE, _PAGE = 72, 38
"""Characters of a line of LaTeX's `article` in small type, and lines of a table that a page of it holds."""


@dataclass(frozen=True)
class Table:
    r"""A table with what a paper needs around it.

    Args:
        name: the files' name, and the LaTeX label unless `label` is given.
        caption: what it shows, one sentence.
        headers: of the columns.
        rows: of text.
        notes: lines under the table.
        widths: of columns on the terminal, by header, where longer text is wrapped.
        paragraphs: the columns that LaTeX wraps, by header.
        numbers: the columns that are flush right, by header.
        label: for LaTeX's \ref.
        pages: whether LaTeX breaks it over pages, whatever its size.
        spare: the columns that a narrow terminal does without, by header, in this order.
    """

    name: str
    caption: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    widths: Mapping[str, int] = field(default_factory=dict)
    paragraphs: Sequence[str] = ()
    numbers: Sequence[str] = ()
    label: str = ""
    pages: bool = False
    spare: Sequence[str] = ()

    def text(self, room: int | None = None) -> str:
        """For the terminal, with wide columns wrapped.

        Args:
            room: the columns of the terminal, into which all is fitted; None where they are not known.
        """
        for header in self.spare:
            if room is not None and self.rows and narrowest(self.headers, self.rows) > room:
                return self._without(header).text(room)
        given = [self.widths.get(header) for header in self.headers]
        widths = fitted(self.headers, self.rows, room, given)
        body = tabulate(
            self.rows,
            self.headers,
            tablefmt="simple",
            disable_numparse=True,
            maxcolwidths=widths,
            maxheadercolwidths=header_widths(widths),
            colalign=self._sides,
        )
        notes = [textwrap.fill(note, width=min(room or 130, 130)) for note in self.notes]
        caption = self.caption if room is None else textwrap.fill(self.caption, room)
        return "\n".join([caption, "", body, *notes])

    def _without(self, header: str) -> Table:
        """The table without one of its columns, and a note of it."""
        place = list(self.headers).index(header)
        left, said = [h for h in self.spare if h != header], "Left out on a terminal this narrow: "
        notes = [note for note in self.notes if not note.startswith(said)]
        out = [note.removeprefix(said).removesuffix(".") for note in self.notes if note.startswith(said)]
        return replace(
            self,
            headers=[*self.headers[:place], *self.headers[place + 1 :]],
            rows=[[*row[:place], *row[place + 1 :]] for row in self.rows],
            notes=[*notes, f"{said}{'; '.join([*out, header])}."],
            spare=left,
        )

    def markdown(self) -> str:
        """GitHub's table, the caption above it and the notes below."""
        rows = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in self.rows]
        kind = "pipe" if self.numbers else "github"  # the one that says which columns are flush right
        body = tabulate(rows, self.headers, tablefmt=kind, disable_numparse=True, colalign=self._sides)
        return "\n\n".join([self.caption, body, *self.notes]) + "\n"

    def latex(self) -> str:
        """A `table` environment with booktabs rules, after a comment with the packages that it needs.

        What is too large for a page is a `longtable`.
        """
        if self.pages or not self._fits_a_page():
            return self._longtable()
        wide, width = ("tabularx", r"{\linewidth}") if self.paragraphs else ("tabular", "")
        columns = "".join("X" if h in self.paragraphs else self._side(h)[0] for h in self.headers)
        lines = [
            r"\begin{table}",
            r"  \centering\small",
            rf"  \caption{{{latex_escape(self.caption)}}}",
            rf"  \label{{{self.label or 'tab:' + self.name.replace('_', '-')}}}",
            rf"  \begin{{{wide}}}{width}{{{columns}}}",
            r"    \toprule",
            "    " + " & ".join(map(latex_escape, self.headers)) + r" \\",
            r"    \midrule",
            *("    " + " & ".join(map(latex_cell, row)) + r" \\" for row in self.rows),
            r"    \bottomrule",
            rf"  \end{{{wide}}}",
            *(rf"  \par\footnotesize {latex_escape(note)}" for note in self.notes),
            r"\end{table}",
        ]
        return "\n".join([f"% {packages(lines)}", *lines]) + "\n"

    def _longtable(self) -> str:
        """The same as a `longtable`, its columns as wide as what is in them."""
        needs = self._shares()
        room = 0.99 - 0.0145 * len(needs)  # the rest is between the columns
        columns = "".join(
            rf">{{\ragged{'left' if h in self.numbers else 'right'}\arraybackslash}}"
            rf"p{{{room * need / sum(needs):.3f}\linewidth}}"
            for h, need in zip(self.headers, needs, strict=True)
        )
        head = " & ".join(map(latex_escape, self.headers)) + r" \\"
        lines = [
            r"{\scriptsize\setlength{\tabcolsep}{2.5pt}\setlength{\LTcapwidth}{\linewidth}",
            r"\renewcommand{\arraystretch}{1.2}\raggedright",
            rf"\begin{{longtable}}{{{columns}}}",
            rf"  \caption{{{latex_escape(self.caption)}}}",
            rf"  \label{{{self.label or 'tab:' + self.name.replace('_', '-')}}} \\",
            rf"  \toprule {head} \midrule \endfirsthead",
            rf"  \toprule {head} \midrule \endhead",
            r"  \bottomrule \endlastfoot",
            *("  " + " & ".join(breaking(latex_cell(cell)) for cell in row) + r" \\" for row in self.rows),
            r"\end{longtable}",
            *(rf"\par {latex_escape(note)}" for note in self.notes),
            "}",
        ]
        return "\n".join([f"% {packages(lines)}", *lines]) + "\n"

    def _shares(self) -> Sequence[float]:
        """Room for the longest word of each column, and of the rest what its longest cell needs."""
        if any(header in self.widths for header in self.headers) and self.pages:
            return [self.widths.get(h) or self._longest(k) for k, h in enumerate(self.headers)]
        columns = list(zip(self.headers, *self.rows, strict=True))
        words = [max(len(w) for cell in c for w in re.split(r"(?<=-)|\s", cell)) + 1 for c in columns]
        more = [min(self._longest(k), _LINE) - word for k, word in enumerate(words)]
        left = max(1.35 * _LINE - sum(words), 0) / max(sum(map(abs, more)), 1)  # the type is smaller
        return [word + left * max(wish, 0) for word, wish in zip(words, more, strict=True)]

    def _fits_a_page(self) -> bool:
        """Whether a line has room for the columns, and a page for the rows."""
        wrapped = [k for k, header in enumerate(self.headers) if header in self.paragraphs]
        others = [self._longest(k) + 1 for k in range(len(self.headers)) if k not in wrapped]
        room = (_LINE - sum(others)) // max(len(wrapped), 1)
        if room < (10 if wrapped else 0):
            return False
        lines = [max([1, *(-(-len(row[k]) // room) for k in wrapped)]) for row in self.rows]
        return sum(lines) <= _PAGE

    def _longest(self, column: int) -> int:
        return max(len(row[column]) for row in [self.headers, *self.rows])

    def csv(self) -> str:
        """Headers and rows alone, for machines."""
        file = io.StringIO()
        rows = [[spreadsheet_text(cell) for cell in row] for row in self.rows]
        csv.writer(file, lineterminator="\n").writerows([self.headers, *rows])
        return file.getvalue()

    def html(self) -> str:
        """A `<table>` whose cells are escaped, notes in its foot."""
        head = "".join(f'<th scope="col">{escape(text)}</th>' for text in self.headers)
        foot = "<br>".join(map(escape, self.notes))
        lines = [
            "<table>",
            f"<caption>{escape(self.caption)}</caption>",
            f"<thead><tr>{head}</tr></thead>",
            "<tbody>",
            *(f"<tr>{self._html_cells(row)}</tr>" for row in self.rows),
            "</tbody>",
            *([f'<tfoot><tr><td colspan="{len(self.headers)}">{foot}</td></tr></tfoot>'] if foot else []),
            "</table>",
        ]
        return "\n".join(lines) + "\n"

    def _side(self, header: str) -> str:
        return "right" if header in self.numbers else "left"

    @property
    def _sides(self) -> Sequence[str] | None:
        return [self._side(header) for header in self.headers] if self.numbers and self.rows else None

    def _html_cells(self, row: Sequence[str]) -> str:
        first, *rest = row
        styles = {"left": "", "right": ' style="text-align:right"'}
        cells = [
            f"<td{styles[self._side(header)]}>{escape(text)}</td>"
            for header, text in zip(self.headers[1:], rest, strict=True)
        ]
        return f'<th scope="row">{escape(first)}</th>' + "".join(cells)
