"""Colour on a terminal, where it helps and nobody asked for none."""

from __future__ import annotations

import os
from typing import Literal, TextIO

_CODES = {"red": "31", "green": "32", "yellow": "33"}


def coloured(text: str, colour: Literal["red", "green", "yellow"], stream: TextIO) -> str:
    """`text` in a colour if `stream` is a terminal that has them, and `NO_COLOR` is not set.

    See https://no-color.org: any value that is not empty means none.
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty():
        return text
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"
