"""What work is at whose length nobody knows: said from deep inside, shown by whoever listens.

On a terminal one line of tqdm's moves on; a log gets a plain line for each stage. Nothing is shown of work
that is short.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from suite.machine.bars import Bar

QUIET = 5.0
"""Seconds in which nothing is shown, unless a stage is expected to take longer."""

Show = Callable[[str, float], None]

_listening: ContextVar[Show | None] = ContextVar("_listening", default=None)


def begins(stage: str, seconds: float | None = None) -> None:
    """Say that a stage begins.

    Args:
        stage: what is done in it.
        seconds: how long it is expected to take, if that is known.
    """
    show = _listening.get()
    if show is not None:
        cost = "" if seconds is None else f", about {_rounded(seconds)}"
        show(f"{stage}{cost}", seconds or 0.0)


@contextmanager
def stages_shown(stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """Show the stages that begin inside.

    Args:
        stream: where; standard error as it is now if None.
        clock: seconds that only go on.
    """
    shown = _Stages(stream or sys.stderr, clock)
    token = _listening.set(shown)
    try:
        yield
    finally:
        _listening.reset(token)
        shown.finish()


class _Stages:
    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        self._stream, self._clock, self._start = stream, clock, clock()
        self._line: Any = None

    def __call__(self, stage: str, seconds: float) -> None:
        elapsed = self._clock() - self._start
        if max(elapsed, seconds) < QUIET:
            return
        if not self._stream.isatty():
            self._stream.write(f"[{_rounded(elapsed)}] {stage}\n")
            self._stream.flush()
            return
        if self._line is None:
            self._line = Bar(file=self._stream, leave=False, bar_format="[{elapsed}] {desc}")
        self._line.set_description_str(stage)

    def finish(self) -> None:
        if self._line is not None:
            self._line.close()


def _rounded(seconds: float) -> str:
    if seconds < 0.1:
        return f"{seconds:.2f} s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
