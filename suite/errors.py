"""The errors that people cause and can mend: one clear line each, exit code 2."""

from __future__ import annotations

import difflib
import sysconfig
import traceback
from collections.abc import Iterable
from numbers import Real
from pathlib import Path

HERE = Path(__file__).parent
STANDARD = Path(sysconfig.get_path("stdlib"))


class UsageError(ValueError):
    """What was asked for cannot be: the message says what was given, what is allowed, and what to do."""


class CaseError(RuntimeError):
    """A case that cannot be measured. The run reports it and goes on without the case."""


def one_line(error: BaseException) -> str:
    """The message of `error` on a single line, with its type where the message alone says too little."""
    text = " ".join(str(error).split())
    text = text.encode("utf-8", "backslashreplace").decode()  # file names may hold what no text can
    if isinstance(error, UsageError | CaseError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def place(error: BaseException) -> str:
    """Where in somebody's own file an error comes from, ` (FILE.py:LINE)`; empty where that is not known.

    Packages that are installed, and this one, are not somebody's own.
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        own = file.suffix == ".py" and file.is_file() and not file.is_relative_to(HERE)
        if own and not {"site-packages", "dist-packages"} & set(file.parts) and STANDARD not in file.parents:
            return f" ({file.name}:{frame.lineno})"
    return ""


def shortened(value: object) -> str:
    """`value` as a message shows it, cut where it has hundreds of digits."""
    try:
        shown = str(value) if isinstance(value, Real) else repr(value)
    except ValueError:  # Python writes out no whole number of more than 4300 digits
        return "of thousands of digits"
    return shown if len(shown) <= 60 else f"{shown[:20]}… ({len(shown)} characters)"


def unknown(kind: str, name: str, known: Iterable[str], listed: str = "gradsuite list") -> UsageError:
    """The error for a `name` that no `kind` has, with the nearest names that there are.

    Args:
        kind: what has names.
        name: the one that was given.
        known: those that there are.
        listed: what prints them all, where they are too many for a line.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        hint = f"did you mean {' or '.join(repr(n) for n in near)}?"
    elif len(names) <= 12:
        hint = f"there are: {', '.join(names)}"
    else:
        hint = f"there are {len(names)}; `{listed}` names them"
    return UsageError(f"no {kind} is named {name!r}: {hint}")
