"""A gradient that is made up of weights, as `identify` sees it: no model, no torch."""

from __future__ import annotations

import numpy as np

from suite.algebra.units import Column, Units
from suite.recovery.identify import Match, applying, matches, matching, suspected
from suite.recovery.solve import Root
from suite.recovery.suspects import Suspect

ROUNDING = 1e-12
TWINS = {
    "fault:not-divided-by-k", "fault:partial-window", "fault:ranks-of-unequal-size",
    "fault:token-means-averaged",
}  # fmt: skip
"""Mistakes that are what others do on purpose: by their weights alone they are none."""


def root(units: Units, weights: Column, rows: Column) -> Root:
    """The root of `[units, params]` rows and the gradient that `weights` give."""
    return Root(np.column_stack([rows.T, rows.T @ weights]), len(units))


def rows(units: Units, seed: int = 0) -> Column:
    """`[units, params]` independent gradients of several lengths."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(len(units), len(units) + 3)) * rng.uniform(0.2, 3.0, (len(units), 1))


def identified(units: Units, made: Root) -> list[Match]:
    """The conventions that a gradient is said to be."""
    return matches(made, applying(units, made.gram), slack(made), units)


def doubted(units: Units, made: Root) -> list[Suspect]:
    """The known mistakes that are not ruled out."""
    found = matching(made, applying(units, made.gram), slack(made))
    return suspected(made, found, slack(made), units)


def slack(made: Root):
    return lambda column: ROUNDING * float(np.abs(column) @ made.norms + np.linalg.norm(made.side))
