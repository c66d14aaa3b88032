"""What asks a process to end: signals are answered as Ctrl-C is, `os._exit` as `sys.exit` is.

What was measured is kept.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

ENDING_SIGNALS = ("SIGTERM", "SIGHUP")
INTERRUPTED = 130
_ASKED: list[int] = []
"""The signals that came since signals were last taken as interrupts."""


class Ended(KeyboardInterrupt):
    """A signal asks this process to end.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def exit_code(error: KeyboardInterrupt) -> int:
    """128 and the number of the signal, as shells have it; Ctrl-C is signal 2."""
    return 128 + error.number if isinstance(error, Ended) else INTERRUPTED


@contextmanager
def signals_as_interrupts() -> Iterator[None]:
    """Inside, SIGTERM (of a scheduler, say) and SIGHUP (of a closed terminal) raise `Ended`.

    A signal that is ignored (`nohup`) stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    known = [getattr(signal, name) for name in ENDING_SIGNALS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in known}
    _ASKED.clear()
    try:
        for number, handler in before.items():
            if handler is signal.SIG_DFL:
                signal.signal(number, _end)
        yield
    finally:
        for number, handler in before.items():
            if handler is signal.SIG_DFL:
                signal.signal(number, handler)
        _ASKED.clear()  # they are answered, and end no later run of this process


@contextmanager
def exits_raised() -> Iterator[None]:
    """Inside, `os._exit` raises SystemExit: a step that calls it would end all with code 0 and no answer.

    Processes that are forked inside end by it, as those of multiprocessing do, and so do other threads.
    """
    real, process, thread = os._exit, os.getpid(), threading.get_ident()

    def leave(status: int) -> NoReturn:
        if (os.getpid(), threading.get_ident()) == (process, thread):
            raise SystemExit(f"os._exit({status})")
        real(status)

    os._exit = leave
    try:
        yield
    finally:
        os._exit = real


def raise_again() -> None:
    """Raise what a signal raised, if that was lost: what is raised in a callback of Python's goes nowhere.

    Raises:
        Ended: A signal has asked this process to end.
    """
    if _ASKED:
        raise Ended(_ASKED[-1])


def _end(number: int, _: FrameType | None) -> None:
    _ASKED.append(number)
    raise Ended(number)
