"""Clip thresholds in a row: sums over few units each, in place of one over all units for each threshold.

With the units in the order of their norms, `min(1, C/‖g_u‖)` is 1 up to `C` and proportional to `1/‖g_u‖`
behind, for any `C`. Of three thresholds in order, one combination vanishes on all units but those whose
norms lie between the first and the third: a hat. The hats of all thresholds span the same as the thresholds,
and each unit takes part in two of them, however many there are. The mean is a threshold that none exceeds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from suite.algebra.discrepancy import EPS

Coefficients = NDArray[np.float64]


MOST_ROWS = 64
"""More rows are not looked at: each is tried as the order of the units."""

PROPORTIONAL = 64 * EPS
"""Two ratios of coefficients are one, from so near on."""

INDEPENDENT = 0.05
"""The least singular value of the hats, their norms being 1: what they are less, magnifies rounding."""


def hats(rows: Coefficients) -> tuple[Coefficients, list[int]] | None:
    """Coefficients with few units each that span some of `rows`, which these are; None where there are none.

    Args:
        rows: `[rank, units]` that are linearly independent.

    Returns:
        `[some, units]` the hats, of norm 1, and the indices of as many rows that they span.
    """
    if not 3 <= len(rows) <= MOST_ROWS:
        return None
    members = _monotone_together(rows)
    if len(members) < 3:
        return None
    chosen = rows[members]
    chosen = chosen[np.argsort(np.abs(chosen).sum(1) / np.abs(chosen).max(1), kind="stable")]
    last = len(chosen) - 1
    found = [_end(chosen[:2], low=False)]
    found += [_between(chosen[k - 1 : k + 2]) for k in range(1, last)]
    found += [_end(chosen[: last - 2 : -1], low=True)]
    made = np.stack(found)
    norms = np.linalg.norm(made, axis=1, keepdims=True)
    if not (norms > PROPORTIONAL).all():
        return None
    made /= norms
    if np.linalg.eigvalsh(made @ made.T)[0] < INDEPENDENT**2:
        return None
    return made, members


def _monotone_together(rows: Coefficients) -> list[int]:
    """The indices of the most rows that fall, or stay, along one order of the units."""
    slack = PROPORTIONAL * np.abs(rows).max(1, keepdims=True)
    positive = (rows > 0).all(1)
    best: list[int] = []
    for row in rows[positive]:
        ordered = rows[:, np.argsort(-row, kind="stable")]
        falling = (ordered[:, 1:] <= ordered[:, :-1] + slack).all(1)
        found = np.flatnonzero(falling & positive).tolist()
        best = max(best, found, key=len)
    return best


def _groups(ratios: Coefficients) -> list[NDArray[np.intp]]:
    """The two largest groups of units in which these ratios, `[some, units]`, are alike; largest first.

    Thresholds fall together along the units, and so do their ratios: what is alike stands side by side.
    """
    key = ratios[0] + np.sqrt(0.5) * ratios[-1]
    order = key.argsort(kind="stable")
    key = key[order]
    starts = np.flatnonzero(np.diff(key) > PROPORTIONAL * np.abs(key[1:])) + 1
    edges = np.concatenate([[0], starts, [len(key)]])
    largest = np.argsort(edges[:-1] - edges[1:], kind="stable")[:2]
    groups = [order[edges[k] : edges[k + 1]] for k in largest if edges[k + 1] - edges[k] > 1]
    return [g for g in groups if all(abs(r[g[0]] - r[g[-1]]) <= PROPORTIONAL * abs(r[g[0]]) for r in ratios)]


def _between(three: Coefficients) -> Coefficients:
    """What vanishes where the three are proportional: all are clipped, or none is."""
    groups = _groups(three[[0, 2]] / three[1])
    if len(groups) < 2:  # none exceeds the last
        return _end(three[1::-1], low=True)
    (a, b, c), (x, y, z) = (three[:, group[0]] / three[1, group[0]] for group in groups)
    found: Coefficients = np.array([b * z - c * y, c * x - a * z, a * y - b * x]) @ three
    for group in groups:
        found[group] = 0.0
    return found


def _end(two: Coefficients, *, low: bool) -> Coefficients:
    """What vanishes where both are clipped, or neither is (`low`): where the first is least, or largest."""
    groups = _groups(two[1:] / two[0])
    extreme = two[0].argmax() if low else two[0].argmin()
    group = next((g for g in groups if extreme in g), None)
    if group is None:
        return np.asarray(two[0])
    found: Coefficients = two[0] * two[1, group[0]] - two[1] * two[0, group[0]]
    found[group] = 0.0
    return found
