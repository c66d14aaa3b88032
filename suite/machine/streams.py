"""Standard output and standard error that take whatever is said: any character, closed or full files.

A terminal or a log may know no `≠`, may be gone, or may be full; what is printed may come from outside, with
escapes that a terminal would obey. Inside `steady` none of that ends a command. Inside `aside` what anybody's
code prints goes to standard error, and never into a table or JSON.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from suite.errors import visible

HANDLER = "gradsuite"
STAND_INS = {
    "≠": "!=", "≈": "~", "≤": "<=", "≥": ">=", "−": "-", "–": "-", "—": "-", "…": "...", "→": "->",
    "×": "x", "·": "*", "√": "sqrt", "Σ": "sum", "∈": " in ", "∠": "angle ", "‖": "||", "²": "^2",
    "ᵀ": "^T", "½": "1/2", "↕": "", "θ": "theta", "ε": "eps", "λ": "lambda", "ℓ": "l", "σ": "sigma",
    "°": " deg", "‘": "'", "’": "'", "“": '"', "”": '"', "∇": "grad ", "∞": "inf", "±": "+-", "⊤": "^T",
    "β": "beta", "η": "eta", "μ": "mu", "α": "alpha", "γ": "gamma", "δ": "delta", "∂": "d",
}  # fmt: skip
"""What stands for a character of our own in an encoding that does not have it."""

_NOTHING = re.compile("((?!))")
_COLOURS = re.compile(r"(\x1b\[(?:0|31|32|33)m)")
_PROGRESS = re.compile(r"(\x1b\[(?:0|31|32|33)m|\x1b\[A|\r)")
"""What is ours to say to a terminal: colours; on standard error, where progress is shown, moves as well."""


class OutputError(Exception):
    """Standard output cannot be written: the message says why."""


class _Steady:
    """A stream that takes everything; an answer that cannot be written is an `OutputError`.

    Args:
        stream: what is written to.
        allowed: the escapes that a terminal may obey.
        needed: whether somebody waits for what is written; or else it is dropped where it cannot be.
    """

    def __init__(self, stream: TextIO, allowed: re.Pattern[str], *, needed: bool) -> None:
        self._stream = stream
        self._allowed = allowed
        self._needed = needed

    def write(self, text: str) -> int:
        """Write `text`, with what is not for a terminal to obey as escapes."""
        parts = self._allowed.split(text)
        shown = "".join(part if k % 2 else visible(part) for k, part in enumerate(parts))
        self._attempt(lambda: self._stream.write(shown))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of the lines."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Hand on what was written."""
        self._attempt(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _attempt(self, action: Any) -> None:
        try:
            action()
        except BrokenPipeError:
            if self._needed:
                raise
        except (OSError, ValueError) as error:  # a ValueError where somebody closed it
            if self._needed:
                raise OutputError(getattr(error, "strerror", None) or str(error)) from None


@contextmanager
def steady() -> Iterator[None]:
    """Inside, `sys.stdout` and `sys.stderr` take any text, and tell of one thing alone: `OutputError`."""
    codecs.register_error(HANDLER, _nearest)
    before = sys.stdout, sys.stderr
    streams = [_opened(stream) for stream in before]
    handlers = [_set_errors(stream, HANDLER) for stream in streams]
    out, err = streams
    colours = _COLOURS if _is_terminal(out) else _NOTHING
    sys.stdout = cast(TextIO, _Steady(out, colours, needed=before[0] is not None))
    sys.stderr = cast(TextIO, _Steady(err, _PROGRESS if _is_terminal(err) else _NOTHING, needed=False))
    try:
        yield
    finally:
        for stream, handler, place in zip(streams, handlers, (1, 2), strict=True):
            _let_go(stream, place)
            if handler is not None:
                _set_errors(stream, handler)
        sys.stdout, sys.stderr = before
        for stream, given in zip(streams, before, strict=True):
            if given is None:
                stream.close()


@contextmanager
def aside() -> Iterator[None]:
    """Inside, what is printed goes to standard error, whoever prints it: Python, C, or another process."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        with contextlib.suppress(OSError):
            kept = os.dup(1)
            stack.callback(os.close, kept)
            os.dup2(2, 1)
            stack.callback(os.dup2, kept, 1)
        with contextlib.redirect_stdout(cast(TextIO, _KeptOpen(sys.stderr))):
            yield


class _KeptOpen:
    """A stream that others may close without closing it for everybody."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def close(self) -> None:
        """Hand on what was written."""
        self._stream.flush()


def _opened(stream: TextIO | None) -> TextIO:
    """The stream, or one that forgets where the process was started with it closed."""
    return open(os.devnull, "w", encoding="utf-8") if stream is None else stream  # noqa: PTH123


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # it is closed
        return False


def _set_errors(stream: TextIO, handler: str) -> str | None:
    """Let a stream answer characters that it does not have by `handler`; how it did so before."""
    before: str | None = getattr(stream, "errors", None)
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is None:
        return None
    with contextlib.suppress(OSError, ValueError):
        reconfigure(errors=handler)
    return before


def _let_go(stream: TextIO, place: int) -> None:
    """Hand on what is left; where that fails, nothing tries it again when Python ends."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            if stream.fileno() == place:
                os.dup2(os.open(os.devnull, os.O_WRONLY), place)


def _nearest(error: UnicodeError) -> tuple[str | bytes, int]:
    """What stands for characters that an encoding does not have."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = [
        STAND_INS.get(c) or c.encode("ascii", "backslashreplace").decode()
        for c in error.object[error.start : error.end]
    ]
    return "".join(found), error.end
