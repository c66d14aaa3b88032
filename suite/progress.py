"""Progress of long work: one line that changes on a terminal, a plain line a case in a log."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class Progress:
    """What is running, how much is done, and how long the rest will take.

    Args:
        total: the number of steps.
        stream: where it is shown; standard error if None.
        shown: False for silence.
    """

    def __init__(self, total: int, stream: TextIO | None = None, *, shown: bool = True) -> None:
        self._total = total
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._shown = shown
        self._start = time.monotonic()
        self._done = 0
        self._group = ""

    def step(self, group: str, detail: str) -> None:
        """Say that the next step, `detail` of `group`, begins; the one before is done."""
        if self._live:
            self._line(f"{group} {detail}")
        elif group != self._group:
            self._print(f"[{self._done}/{self._total}] {group}\n")
        self._group = group
        self._done += 1

    def note(self, text: str) -> None:
        """A line that stays."""
        self._print(("\r\x1b[K" if self._live else "") + text + "\n")

    def finish(self) -> None:
        """Clear the line."""
        if self._live:
            self._print("\r\x1b[K")

    def _line(self, text: str) -> None:
        spent = time.monotonic() - self._start
        left = spent / self._done * (self._total - self._done) if self._done else None
        to_go = f", {left:.0f} s to go" if left is not None else ""
        self._print(f"\r\x1b[K[{self._done + 1}/{self._total}] {text}{to_go}"[:200])

    def _print(self, text: str) -> None:
        if self._shown:
            self._stream.write(text)
            self._stream.flush()
