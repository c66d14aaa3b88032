"""The errors that people cause and can mend: one clear line each, exit code 2."""

from __future__ import annotations

import difflib
import re
import sysconfig
import traceback
from collections.abc import Iterable
from numbers import Real
from pathlib import Path

HERE = Path(__file__).parent
STANDARD = Path(sysconfig.get_path("stdlib"))

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class UsageError(ValueError):
    """What was asked for cannot be: the message says what was given, what is allowed, and what to do."""


class CaseError(RuntimeError):
    """A case that cannot be measured. The run reports it and goes on without the case."""


def visible(text: str) -> str:
    r"""`text` with escapes for what a terminal would obey and what no encoding has: half a character, say.

    >>> visible("red: " + chr(27) + "[31m, half: " + chr(0xDCE9))
    'red: \\x1b[31m, half: \\udce9'
    """
    return _UNSEEN.sub(lambda found: repr(found[0])[1:-1], text)


def one_line(error: BaseException) -> str:
    """The message of `error` on a single line, with its type where the message alone says too little."""
    try:
        text = visible(" ".join(str(error).split()))
    except Exception:  # noqa: BLE001  it is anybody's class
        return f"{type(error).__name__}, whose message cannot be read"
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


def unknown(
    kind: str, name: str, known: Iterable[str], listed: str = "gradsuite list", *, meant: Iterable[str] = ()
) -> UsageError:
    """The error for a `name` that no `kind` has, with the nearest names that there are.

    Args:
        kind: what has names.
        name: the one that was given.
        known: those that there are.
        listed: what prints them all, where they are too many for a line.
        meant: those of them that `name` means elsewhere; they are all that is suggested then.
    """
    names = sorted(known)
    near = list(meant) or _nearest(name, names)
    if near:
        hint = f"did you mean {' or '.join(repr(n) for n in near)}?"
    elif len(names) <= 12:
        hint = f"there are: {', '.join(names)}"
    else:
        hint = f"there are {len(names)}; `{listed}` names them"
    return UsageError(f"no {kind} is named {shortened(name)}: {hint}")


def spelling(name: str) -> str:
    """`name` without what people do not mean by it: capitals, and underscores for hyphens."""
    return name.lower().replace("_", "-")


def _nearest(name: str, names: list[str]) -> list[str]:
    """The same name spelt otherwise; else those it ends or is a part of; else those that look like it.

    A name that is a letter away from one that there is, is meant as that: `means` as `mean`.

    >>> _nearest("torch.optim.adam", ["Adam", "pytorch_optimizer:Lamb"])
    ['Adam']
    >>> _nearest("DQN", ["dopamine-dqn", "dqn-2015", "dqn-baselines", "ddpm-2020"])
    ['dqn-2015', 'dqn-baselines', 'dopamine-dqn']
    """
    spelt = spelling(name)
    same = [one for one in names if spelling(one) == spelt]
    last = re.split("[:.]", spelt)[-1]
    ended = [one for one in names if last and spelling(one).rpartition(":")[2] == last]
    one_letter_off = difflib.get_close_matches(spelt, map(spelling, names), n=1, cutoff=0.85)
    parts = [] if one_letter_off else [one for one in names if _is_part(spelt, spelling(one))]
    within = list(dict.fromkeys([*ended, *parts]))
    if same or within:
        return same or sorted(within, key=lambda one: not spelling(one).startswith(spelt))[:3]
    by_spelling: dict[str, list[str]] = {}
    for one in names:
        by_spelling.setdefault(spelling(one), []).append(one)
    like = difflib.get_close_matches(spelt, by_spelling, n=3, cutoff=0.6)
    return [one for spelt in like for one in by_spelling[spelt]][:3]


def _is_part(name: str, known: str) -> bool:
    """Whether `name` is one or several whole parts of `known`, between hyphens, colons and slashes."""
    return len(name) >= 3 and re.search(rf"(?<![^-:/]){re.escape(name)}(?![^-:/])", known) is not None
