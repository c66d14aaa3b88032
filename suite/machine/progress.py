"""Progress of long work: tqdm's bar on a terminal or in a notebook, a plain line a group in a log."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

from suite.machine.bars import Bar, is_widget
from suite.machine.terminal import coloured

FORMAT = "{percentage:3.0f}%|{bar:16}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}] {desc}"


class Progress:
    """What is running, how much is done and left, and how long the rest will take.

    Args:
        total: the number of steps.
        stream: where it is shown; standard error if None.
        shown: False for silence.
        clock: seconds that only go on.
    """

    def __init__(
        self,
        total: int,
        stream: TextIO | None = None,
        *,
        shown: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._stream = stream or sys.stderr
        self._shown = shown
        drawn = self._stream.isatty() or (stream is None and is_widget())
        self._bar = self._new_bar() if shown and drawn else None
        self._clock = clock
        self._start: float | None = None
        self._running: dict[str, str] = {}
        self._done = 0
        self._skipped = 0
        self._group = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finish()

    def step(self, group: str, detail: str) -> None:
        """Say that the next step, `detail` of `group`, begins; the one before is done."""
        for name in list(self._running):
            self._end(name)
        self.began(f"{group} {detail}", group, detail)

    def began(self, name: str, group: str, detail: str) -> None:
        """Say that `name`, `detail` of `group`, begins; others may be running."""
        if self._start is None:
            self._start = self._clock()
        self._running[name] = f"{group} {detail}"
        if self._bar is None and group != self._group:
            self._print(f"{self._count()} {group}\n")
        self._group = group
        self._refresh()

    def ended(self, name: str) -> None:
        """Say that it is done."""
        self._end(name)
        self._refresh()

    def skip(self, count: int) -> None:
        """Say that so many steps were done before."""
        if count and not self._skipped:
            self.note(f"{count} of {self._total} were measured before and are taken as they are.")
        self._skipped += count
        self._done += count
        self._refresh()

    def expect(self, total: int) -> None:
        """Say how many steps there are, now that it is known better."""
        self._total = total
        self._refresh()

    def note(self, text: str) -> None:
        """A line that stays."""
        if self._bar is None:
            self._print(text + "\n")
        else:
            self._bar.write(text, file=self._stream)  # above the bar

    def failed(self, text: str) -> None:
        """A line that stays, of what went wrong."""
        self.note(coloured(text, "red", self._stream))

    def finish(self) -> None:
        """Clear the bar."""
        if self._bar is not None:
            self._bar.close()

    def _end(self, name: str) -> None:
        if self._running.pop(name, None) is not None:
            self._done += 1

    def _count(self) -> str:
        now = self._clock()
        measured = self._done - self._skipped
        left = self._total - self._done
        to_go = ""
        if measured and left and self._start is not None:
            to_go = f", {_duration((now - self._start) / measured * left)} to go"
        return f"[{self._done} done, {left} left{to_go}]"

    def _new_bar(self) -> Any:
        return Bar(total=self._total, file=self._stream, leave=False, ncols=_columns(), bar_format=FORMAT)

    def _refresh(self) -> None:
        if self._bar is not None:
            running = list(self._running.values())
            more = f" and {len(running) - 1} more" if len(running) > 1 else ""
            self._bar.ncols = _columns()  # somebody may have made the window smaller
            # What was done before took no time: the rest is estimated without it.
            self._bar.total, self._bar.n, self._bar.initial = self._total, self._done, self._skipped
            self._bar.set_description_str(running[0] + more if running else "")

    def _print(self, text: str) -> None:
        if self._shown:
            self._stream.write(text)
            self._stream.flush()


def _columns() -> int:
    return shutil.get_terminal_size().columns - 1


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
