"""What a paper card may hold, and the check that it holds no more and no less."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from suite.errors import UsageError, one_line, shortened, unknown

VERIFIED = ("measured", "source read", "paper read", "third party", "not checked")
"""How a fact was verified, from strong to weak."""

# What a card may hold: for each key its type, and whether it must be there.
CARD: dict[str, tuple[type, bool]] = {
    "title": (str, True),
    "authors": (list, True),
    "year": (int, True),
    "arxiv": (str, False),
    "doi": (str, False),
    "url": (str, False),
    "bibtex": (str, True),
    "gradient": (dict, True),
    "optimizer": (dict, True),
    "notes": (list, False),
}
GRADIENT: dict[str, tuple[type, bool]] = {
    "convention": (str, True),
    "also": (list, False),
    "where": (str, True),
    "verified": (str, True),
    "batch_size": (int, False),
    "elements": (int, False),
    "micro_batches": (int, False),
    "ranks": (int, False),
    "expected_batch_size": (int, False),
    "max_elements": (int, False),
    "max_norm": (float, False),
}
OPTIMIZER: dict[str, tuple[type, bool]] = {
    "dialect": (str, True),
    "name": (str, True),
    "where": (str, True),
    "verified": (str, True),
    "hyperparameters": (dict, True),
}


def check_card(
    file: str, prefix: str, table: Mapping[str, Any], keys: Mapping[str, tuple[type, bool]]
) -> None:
    """That `table` has the keys that it must have, no others, and values of the right type.

    Raises:
        UsageError: It has not; the message names the file and the key.
    """
    for key in table:
        if key not in keys:
            raise UsageError(f"{file}: {one_line(unknown('key', prefix + key, [prefix + k for k in keys]))}")
    for key, (kind, needed) in keys.items():
        if key not in table:
            if needed:
                raise UsageError(f"{file}: {prefix}{key} is missing")
            continue
        value = table[key]
        fits = isinstance(value, int | float) if kind is float else isinstance(value, kind)
        if not fits or isinstance(value, bool):
            raise UsageError(f"{file}: {prefix}{key} is {value!r}; {_KINDS[kind]} is needed")
        if kind in (str, list) and needed and not value:
            raise UsageError(f"{file}: {prefix}{key} is empty")
        if kind in (int, float) and not 0 < value <= sys.float_info.max:
            raise UsageError(f"{file}: {prefix}{key} is {shortened(value)}; it must be positive and finite")
        if key == "verified" and value not in VERIFIED:
            raise UsageError(f"{file}: {prefix}{key} is {value!r}; it must be one of {', '.join(VERIFIED)}")


_KINDS = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a table",
}
