"""What a parser of outside input is here, and the judgement of what it does with an input."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from hypothesis import strategies as st
from hypothesis.errors import HypothesisException

from suite.cli.main import main
from suite.errors import UsageError, one_line

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Parser:
    """Something that reads what comes from outside.

    Args:
        name: as people type it.
        inputs: what is thrown at it.
        read: reads an input in a folder of its own; a UsageError refuses it, whatever else is raised is a
            fault, an AssertionError among it: the answer is wrong.
        valid: inputs that must be read without being refused.
        seconds: of processor time that one input may take.
    """

    name: str
    inputs: st.SearchStrategy[Any]
    read: Callable[[Any, Path], None]
    valid: tuple[Any, ...]
    seconds: float = 2.0


class TookTooLong(BaseException):
    """Nothing in the suite catches it."""


def fault(parser: Parser, given: Any) -> str:
    """What the parser does wrong with an input; empty where it reads it, or refuses it in one line."""
    with tempfile.TemporaryDirectory(prefix="parsers-") as folder, inside(Path(folder)):
        try:
            Path("the-input").write_text(repr(given), encoding="utf-8", errors="backslashreplace")
            with limit(parser.seconds):
                parser.read(given, Path(folder))
        except UsageError as refused:
            said = str(refused)
            return (
                "" if said.strip() and "\n" not in said else f"a refusal of several lines, or none: {said!r}"
            )
        except (HypothesisException, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  whatever it is, it was not to happen
            return f"{one_line(error)[:300]}, {_place(error)}"
    return ""


def run(*line: str) -> tuple[int, str]:
    """Exit code and standard output of a command line, which must end in a code and at most say one line.

    Raises:
        UsageError: It was refused, as it should be: in one line, and with code 2.
    """
    # As strict as Python is where the terminal speaks UTF-8.
    out, err = (
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=errors, write_through=True)
        for errors in ("strict", "backslashreplace")
    )
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(list(line))
        except SystemExit as left:  # argparse's own way
            code = left.code if isinstance(left.code, int) else 0
    shown, said = (stream.buffer.getvalue().decode() for stream in (out, err))
    assert code in (0, 1, 2), f"exit code {code}"
    if code == 2 and not shown:
        raise UsageError(said.removesuffix("\n") or "")
    return code, shown


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Relative paths are in `folder` meanwhile."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raise TookTooLong after so many seconds of processor time, which others' work does not shorten.

    What is stuck inside one call of C is not stopped by that: it is killed after ten times as long.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGPROF"):
        yield
        return

    def stop(_number: int, frame: FrameType | None) -> None:
        raise TookTooLong(f"more than {seconds:g} s of processor time")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds, 0.2)  # again: garbage collection swallows one
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _place(error: BaseException) -> str:
    """Where in the suite it was raised, the last place of it that was reached."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.filename.startswith((str(ROOT / "suite"), str(ROOT / "cases")))]
    last = (own or frames)[-1]
    within = Path(last.filename)
    name = within.relative_to(ROOT) if within.is_relative_to(ROOT) else within.name
    return f"at {name}:{last.lineno} in {last.name}"
