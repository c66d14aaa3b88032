"""The constant scale whose training stays nearest to another's, found with a handful of trainings.

The weights after a step are a smooth function of the rate and nearly a straight line, so that the square
of each step's distance is nearly a parabola in 1/scale. Polynomials through the trainings at hand tell
the distances of all scales between them; where their largest is lowest is trained next, until what was
told and what is trained agree to half their digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from suite.algebra.units import Column

Distances = tuple[float, ...]

AGREED = math.sqrt(float(np.finfo(np.float64).eps))
TRAININGS = 12
"""As many as may be tried before the search gives up on polynomials and trains a grid."""
NODES = 5
"""Through so many trainings, the nearest to the lowest, goes a polynomial at most."""


def minimax_scale(train: Callable[[float], Distances], low: float, high: float) -> tuple[float, Distances]:
    """The scale from `low` to `high` at which the largest of the distances is lowest, and the distances.

    Args:
        train: gives the distance after each step of a training for this scale; infinite where it diverges.
        low: the least scale, more than 0.
        high: the greatest.
    """
    if low == high:
        return low, train(low)
    trained = {scale: train(scale) for scale in (low, 2 / (1 / low + 1 / high), high)}
    agreed = False
    while len(trained) < TRAININGS and all(map(math.isfinite, map(max, trained.values()))):
        told = _Told(trained)
        scale = told.lowest(low, high)
        near = min(trained, key=lambda s: abs(s - scale))
        known = abs(near - scale) <= AGREED * scale
        if known and agreed:
            return _best(trained)
        if known:  # at a scale that was trained already polynomials are right whatever they are elsewhere
            other = min(trained.keys() - {near}, key=lambda s: abs(s - near))
            scale = (near + other) / 2
        expected = told.largest(np.array([scale]))[0]
        trained[scale] = train(scale)
        agreed = abs(max(trained[scale]) - expected) <= AGREED * expected
        if agreed and not known:
            return _best(trained)
    return _best(trained | _grid(train, low, high))


class _Told:
    """What polynomials in 1/scale through some trainings tell of all scales.

    Args:
        trained: the distances by scale.
    """

    def __init__(self, trained: dict[float, Distances]) -> None:
        centre = _best(trained)[0]
        nodes = sorted(trained, key=lambda s: abs(1 / s - 1 / centre))[:NODES]
        self._at = 1 / np.array(nodes)
        self._squares = np.square([trained[scale] for scale in nodes])  # [nodes, steps]

    def largest(self, scales: Column) -> Column:
        """`[scales]` the largest distance over all steps."""
        x = (1 / scales)[:, None]
        total = np.zeros((len(scales), self._squares.shape[1]))
        for j, at in enumerate(self._at):
            others = np.delete(self._at, j)
            total += np.prod((x - others) / (at - others), axis=1)[:, None] * self._squares[j]
        found: Column = np.sqrt(np.maximum(total, 0).max(axis=1))
        return found

    def lowest(self, low: float, high: float) -> float:
        """The scale between these at which that is lowest: on a grid, refined about its best."""
        while True:
            grid = np.geomspace(low, high, 129)
            at = int(np.argmin(self.largest(grid)))
            found = float(grid[at])
            low, high = float(grid[max(at - 1, 0)]), float(grid[min(at + 1, len(grid) - 1)])
            if high - low <= AGREED * found:
                return found


def _best(trained: dict[float, Distances]) -> tuple[float, Distances]:
    return min(trained.items(), key=lambda found: max(found[1]))


def _grid(
    train: Callable[[float], Distances], low: float, high: float, *, points: int = 9, rounds: int = 4
) -> dict[float, Distances]:
    """The same without any idea of how distances go with the scale: a grid of ratios, refined."""
    trained: dict[float, Distances] = {}
    for _ in range(rounds):
        grid = [low * (high / low) ** (k / (points - 1)) for k in range(points)]
        for scale in grid:
            if scale not in trained:
                trained[scale] = train(scale)
        at = min(range(points), key=lambda k: (max(trained[grid[k]]), k))
        low, high = grid[max(at - 1, 0)], grid[min(at + 1, points - 1)]
    return trained
