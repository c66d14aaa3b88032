"""What people hand to options, taken for what it means: a name for a list of one, a dtype for its name."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from suite.errors import UsageError, shortened

SECONDS = {"": 1.0, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)([a-z]*)")


def several(what: str, given: Any) -> tuple[Any, ...]:
    """A sequence: of one, where one thing was given; empty, where nothing was.

    >>> several("cases", "mse"), several("batch_sizes", range(2, 4))
    (('mse',), (2, 3))

    Raises:
        UsageError: It is neither.
    """
    scalar = getattr(given, "ndim", 1) == 0  # a tensor of one number
    if scalar or isinstance(given, str | Path | int | float):
        return (given,)
    if given is None:
        return ()
    if not isinstance(given, Iterable):
        raise UsageError(f"{what} is {shortened(given)}: a list is needed, or one of its items")
    return tuple(given)


def texts(what: str, given: Any) -> tuple[str, ...]:
    """Names or patterns.

    Raises:
        UsageError: One of them is no text.
    """
    found = several(what, given)
    for one in found:
        if not isinstance(one, str | Path):
            raise UsageError(f"{what} has {shortened(one)}: names or glob patterns are needed")
    return tuple(map(str, found))


def whole(what: str, given: Any) -> int:
    """A whole number, of Python or NumPy or a tensor.

    Raises:
        UsageError: It is none.
    """
    try:
        if isinstance(given, bool):
            raise TypeError
        return operator.index(given)
    except TypeError:
        raise UsageError(f"{what} must be a whole number, {shortened(given)} was given") from None


def as_path(what: str, given: Any) -> Path:
    """A path.

    Raises:
        UsageError: It is none.
    """
    try:
        return Path(given)
    except TypeError:
        raise UsageError(f"{what} is {shortened(given)}: a path is needed") from None


def option_name(given: Any) -> str:
    """The name of a `torch.device` or a `torch.dtype`, or the name itself.

    >>> import torch
    >>> option_name(torch.float32), option_name(torch.device("cuda", 1)), option_name("cpu")
    ('float32', 'cuda:1', 'cpu')
    """
    return str(given).removeprefix("torch.")


def as_seconds(given: float | str) -> float:
    """Seconds: a number of them, or `90s`, `5m`, `1h30m`.

    >>> as_seconds("5m"), as_seconds("1h30m"), as_seconds(2.5)
    (300.0, 5400.0, 2.5)

    Raises:
        UsageError: It is no time.
    """
    try:
        return float(given)
    except (TypeError, ValueError):
        text = str(given).replace(" ", "").lower()
    parts = _PART.findall(text)
    if not parts or "".join(map("".join, parts)) != text or any(unit not in SECONDS for _, unit in parts):
        raise UsageError(f"a time is needed, as 90, 90s, 5m or 1h30m; {shortened(given)} was given")
    return sum(float(number) * SECONDS[unit] for number, unit in parts)
