"""What a paper card may hold, and the check that it holds no more and no less."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from suite.errors import UsageError, one_line, shortened, unknown

VERIFIED = ("measured", "code read", "paper read", "third party", "not checked")
"""How a fact was verified, from strong to weak. `measured`: the code was run, not a step written from it."""
CLIPPED_OVER = ("all", "tensor", "entry", "unit", "micro-batch", "rank", "group")
"""What is clipped at a time: all parameters together, each tensor, each entry, or parts of a batch."""
SELECT = ("biases", "vectors", "matrices", "scalars", "tensors", "embeddings", "part")
"""Which parameters a group holds: by their kind, or a `part` of the model, such as its backbone.

Vectors have one axis or none, matrices two or more, scalars none, tensors one or more.
"""

Keys = Mapping[str, tuple[type, bool]]
# What a card may hold: for each key its type, and whether it must be there.
CARD: Keys = {
    "title": (str, True),
    "authors": (list, True),
    "year": (int, True),
    "arxiv": (str, False),
    "doi": (str, False),
    "url": (str, False),
    "bibtex": (str, True),
    "gradient": (dict, True),
    "optimizer": (dict, True),
    "schedule": (dict, False),
    "groups": (list, False),
    "notes": (list, False),
    "variants": (dict, False),
}
CARD_GRADIENT: Keys = {
    "convention": (str, True),
    "formula": (str, False),
    "also": (list, False),
    "where": (str, True),
    "sources": (list, False),
    "verified": (str, True),
    "ran": (str, False),
    "batch_size": (int, False),
    "elements": (int, False),
    "micro_batches": (int, False),
    "ranks": (int, False),
    "expected_batch_size": (int, False),
    "max_elements": (int, False),
    "max_norm": (float, False),
    "clip_over": (str, False),
    "moving_start": (float, False),
    "moving_decay": (float, False),
    "port": (str, False),
    "lost": (str, False),
}
BATCH_SIZES_KNOWN = (
    "batch_size",
    "elements",
    "micro_batches",
    "ranks",
    "expected_batch_size",
    "max_elements",
)
"""The keys of a gradient that are sizes of a batch."""
CARD_OPTIMIZER: Keys = {
    "dialect": (str, True),
    "name": (str, True),
    "where": (str, True),
    "sources": (list, False),
    "verified": (str, True),
    "ran": (str, False),
    "hyperparameters": (dict, True),
}
CARD_GROUP: Keys = {
    "parameters": (str, True),
    "select": (str, True),
    "lr_factor": (float, False),
    "weight_decay": (float, False),
    "gradient_factor": (float, False),
}
CARD_SCHEDULE: Keys = {"warmup": (str, False), "decay": (str, False)}
CARD_VARIANT: Keys = {
    key: (kind, False) for key, (kind, _) in CARD.items() if key not in ("variants", "bibtex", "authors")
}

_CHOICES = {"verified": VERIFIED, "clip_over": CLIPPED_OVER, "select": SELECT}
_ZERO = ("weight_decay", "lr_factor", "gradient_factor", "moving_decay")
"""Numbers that may be 0."""
_BELOW = {"year": 10_000, "moving_decay": 1}


def check_card(file: str, prefix: str, table: Mapping[str, Any], keys: Keys) -> None:
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
        _check_value(file, prefix + key, table[key], kind, needed=needed)


def check_texts(file: str, key: str, values: Any) -> tuple[str, ...]:
    """`values`, which must be a list of texts, as a tuple."""
    if not isinstance(values, list) or not all(isinstance(text, str) and text for text in values):
        raise UsageError(f"{file}: {key} must be a list of texts")
    return tuple(values)


def _check_value(file: str, name: str, value: Any, kind: type, *, needed: bool) -> None:
    key = name.rpartition(".")[2]
    fits = isinstance(value, int | float) if kind is float else isinstance(value, kind)
    if not fits or isinstance(value, bool):
        raise UsageError(f"{file}: {name} is {shortened(value)}; {_KINDS[kind]} is needed")
    if kind in (str, list) and needed and not value:
        raise UsageError(f"{file}: {name} is empty")
    if kind in (int, float) and key in _ZERO and value == 0:
        return
    if kind in (int, float) and not 0 < value <= sys.float_info.max:
        raise UsageError(f"{file}: {name} is {shortened(value)}; it must be positive and finite")
    if key in _BELOW and value >= _BELOW[key]:
        raise UsageError(f"{file}: {name} is {shortened(value)}; it must be below {_BELOW[key]}")
    if key in _CHOICES and value not in _CHOICES[key]:
        raise UsageError(f"{file}: {name} is {value!r}; it must be one of {', '.join(_CHOICES[key])}")


_KINDS = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a table",
}
