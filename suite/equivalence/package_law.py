"""What the laws of other packages' optimizers are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from suite.equivalence.law import LAWS, Entry, Law
from suite.equivalence.laws import ADDED_TO_ROOT, DECOUPLED, FREE, RATIO

LR = "lr"
RUNS_ON = "{} keeps {} for all parameters together, which no buffer of a parameter holds"


def add_package_law(
    name: str,
    hyperparameters: Mapping[str, Entry],
    state: Mapping[str, int],
    *,
    home: str,
    install: str,
    source: str,
    **rest: Any,
) -> Law:
    """Register the law of another package's optimizer."""
    return LAWS.add(Law(name, hyperparameters, state, source, home=home, install=install, **rest))


def betas_entry(first: float, second: float) -> Entry:
    """Of two decay factors."""
    return Entry((first, second), 0, RATIO)


def free_entry(default: float) -> Entry:
    """Of what the scale does not touch."""
    return Entry(default, 0, FREE)


def eps_entry(default: float) -> Entry:
    """Of what is added to the root."""
    return Entry(default, 1, ADDED_TO_ROOT)


def decoupled_entry(default: float) -> Entry:
    """Of a decay that multiplies the weights."""
    return Entry(default, 0, DECOUPLED)
