"""What a terminal can show: colour, where it helps and nobody asked for none, and so many columns."""

from __future__ import annotations

import os
import re
import shutil
import textwrap
from collections.abc import Sequence
from typing import Literal, TextIO

_CODES = {"red": "31", "green": "32", "yellow": "33"}


def coloured(text: str, colour: Literal["red", "green", "yellow"], stream: TextIO) -> str:
    """`text` in a colour if `stream` is a terminal that has them, and `NO_COLOR` is not set.

    See https://no-color.org: any value that is not empty means none.
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty():
        return text
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


NARROWEST = 9
"""Columns that a cell of a table keeps, however narrow the terminal is."""
LONGEST_WORD = 16
"""Characters of a word that is not broken for want of columns."""
UNBOUNDED = 10**6
"""Columns that no text has."""
PADDING = 2
"""By how much tabulate makes a column wider than its header."""


def columns_of(stream: TextIO | None) -> int | None:
    """The columns of a terminal; None where `stream` is none: a file or a pipe has room for all."""
    try:
        return shutil.get_terminal_size().columns if stream is not None and stream.isatty() else None
    except ValueError:  # it is closed
        return None


def fitted(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    room: int | None,
    widths: Sequence[int | None] | None = None,
) -> list[int | None] | None:
    """The widths at which the columns of a table are wrapped, so that it has no more than `room` columns.

    Args:
        headers: above the columns.
        rows: of text.
        room: what there is; None for any.
        widths: of columns that are wrapped anyhow.

    Returns:
        A width a column, for tabulate; None where nothing is wrapped.
    """
    if not rows or (room is None and widths is None):
        return None
    given = list(widths or [None] * len(headers))
    cells = [max(len(line) for row in rows for line in row[k].split("\n")) for k in range(len(headers))]
    wide = [
        max(len(header) + PADDING, min(cell, width or cell))
        for header, cell, width in zip(headers, cells, given, strict=True)
    ]
    free = (room or UNBOUNDED) - 2 * (len(headers) - 1)
    narrow = list(wide)
    words = _words(headers, rows)
    for least in (words, [NARROWEST] * len(words)):  # words are broken only where nothing else helps
        while sum(narrow) > free:
            width, widest = max(
                (n if n > m else 0, k) for k, (n, m) in enumerate(zip(narrow, least, strict=True))
            )
            if not width:
                break
            narrow[widest] -= 1
    return [given[k] if narrow[k] == wide[k] else narrow[k] for k in range(len(headers))]


def narrowest(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """The columns of a terminal that a table needs if no word in it is broken.

    Args:
        headers: above the columns.
        rows: of text.
    """
    return sum(_words(headers, rows)) + 2 * (len(headers) - 1)


def _words(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """The longest word of each column, of those that are not too long."""

    def longest(text: str) -> int:
        return min(LONGEST_WORD, max(map(len, re.split(r"\s|(?<=\w-)", text))))

    columns = zip(headers, *rows, strict=True)
    return [max(longest(head) + PADDING, *map(longest, cells), NARROWEST) for head, *cells in columns]


def wrapped(text: str, room: int | None) -> str:
    """`text` with no line longer than `room`, broken between words; all of it where `room` is not known.

    Args:
        text: lines of prose, indented or not.
        room: the columns of the terminal.
    """
    if room is None:
        return text
    return "\n".join(line if len(line) <= room else _broken(line, room) for line in text.split("\n"))


def _broken(line: str, room: int) -> str:
    """A line that goes on in others; those of a note and of an indented line are indented further."""
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(
        line.strip(),
        room,
        initial_indent=indent,
        subsequent_indent=f"{indent}  " if indent or line.startswith("Note: ") else "",
        break_long_words=False,
        break_on_hyphens=False,
    )


def header_widths(widths: Sequence[int | None] | None) -> list[int] | None:
    """The widths at which the headers of such columns are wrapped."""
    return None if widths is None else [UNBOUNDED if width is None else width - PADDING for width in widths]
