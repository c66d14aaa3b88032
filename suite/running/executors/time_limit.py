"""Tasks that do not end: how long one may take, and where it was when its time was over.

A process that computes in C may never look at a signal or let another thread run. So it is watched from a
thread of `faulthandler`, which needs nothing of Python, and stopped from outside if that fails.
"""

from __future__ import annotations

import faulthandler
import re
import signal
import sysconfig
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from suite.errors import UsageError
from suite.running.options import check_time_limit

GRACE = 2.0
"""Seconds after its limit in which a process tells where it was and ends by itself."""

STARTING = 300.0
"""Seconds that a process has to start, which imports torch and the case files, before its limit counts."""

YEARS = 1e8
"""Seconds; the longest alarm, as the system refuses some that are longer."""

_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+) in (?P<function>.*)$', re.MULTILINE)
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


@contextmanager
def limited(seconds: float | None, told: int) -> Iterator[None]:
    """End this process if the block takes longer than `seconds`, and say where it was in the file `told`.

    Args:
        seconds: the limit; None for none.
        told: a file descriptor.
    """
    if seconds is None:
        yield
        return
    # It refuses what is less than a microsecond, or more than three centuries.
    seconds = min(max(seconds, 1e-3), threading.TIMEOUT_MAX / 2)
    faulthandler.dump_traceback_later(seconds, exit=True, file=told)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextmanager
def loaded(seconds: float | str | None) -> Iterator[None]:
    """Give up if the block, which imports case files, takes longer than to start a process and `seconds`.

    It is the driver that imports them, which nobody can stop from outside: so this sees what goes on in
    Python, in the main thread, on a system with alarms.

    Args:
        seconds: the limit of a task; None for none.

    Raises:
        UsageError: It does; the message names the line that it was at.
    """
    seconds = check_time_limit(seconds)
    alarms = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if seconds is None or not alarms:
        yield
        return
    most = min(STARTING + seconds, YEARS)

    def late(_: int, frame: FrameType | None) -> None:
        inside = [(f.f_code.co_filename, line) for f, line in traceback.walk_stack(frame)]
        own = [place for place in inside if not place[0].startswith(("<", *_INSTALLED))]
        file, line = (own or inside)[0]
        raise UsageError(
            f"the case files are not loaded after {most:g} s, at {Path(file).name}, line {line}: "
            "what takes long belongs into the functions that build cases"
        )

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, most)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def reason(seconds: float, told: str) -> str:
    """Why a task failed that did not end: its limit, and where it was.

    Args:
        seconds: the limit.
        told: what `limited` wrote; empty if it could not.
    """
    return f"it did not end within {seconds:g} s, the time limit, and was stopped{_place(told)}"


def _place(told: str) -> str:
    """Where the main thread was: the innermost line that is neither Python's nor an installed package's."""
    main = told.rpartition("(most recent call first):")[2]
    frames = [frame.groupdict() for frame in _FRAME.finditer(main)]
    own = [frame for frame in frames if not frame["file"].startswith(("<", *_INSTALLED))]
    for frame in (own or frames)[:1]:
        return f" in {frame['function']} ({Path(frame['file']).name}, line {frame['line']})"
    return ""
