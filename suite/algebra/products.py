"""All products of powers of some symbols that are not too complex, as rows of exponents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from suite.algebra.formula import Formula
from suite.algebra.symbols import cost
from suite.algebra.units import Column

Exponents = NDArray[np.int8]
"""`[products, names]`."""
ROUNDING = 1e-12
"""Relative; the least error that a weight has: of the products and quotients that are compared."""
MOST_FACTORS = 4
"""How many factors, powers counted, a product has at most."""
POWERS = (-2, -1, 0, 1, 2)
MOST_FORMULAS = 200


@lru_cache(maxsize=64)
def power_products(names: tuple[str, ...], most: float) -> Exponents:
    """All products of `MOST_FACTORS` factors or fewer, of complexity `most` or less; the empty one first."""
    costs = np.array([[cost(name, power) if power else 0.0 for power in POWERS] for name in names])
    level, last, total = np.zeros((1, len(names)), dtype=np.int8), np.zeros(1, dtype=int), np.zeros(1)
    levels = [level]
    for _ in range(MOST_FACTORS if names else 0):
        grown = []
        for name in range(len(names)):
            for sign in (1, -1):
                power = level[:, name]
                fits = (last <= name) & (power * sign >= 0) & (np.abs(power) < POWERS[-1])
                more, before = level[fits].copy(), power[fits] - POWERS[0]
                more[:, name] += sign
                worth = total[fits] - costs[name, before] + costs[name, before + sign]
                cheap = worth <= most
                grown.append((more[cheap], np.full(int(cheap.sum()), name), worth[cheap]))
        level, last, total = (np.concatenate(pieces) for pieces in zip(*grown, strict=True))
        levels.append(level)
    return np.concatenate(levels)


def minimal(
    rows: Exponents, names: Sequence[str], logs: Column, fits: Callable[[Exponents], bool] = lambda _: True
) -> list[Exponents]:
    """The rows that fit, simplest first, without those that hold another one and a product worth one.

    `W/K²` is left out beside `1/K` where W/K is one on this batch.

    Args:
        rows: exponents.
        names: the symbols.
        logs: `[names, values]` the logarithms of what they are worth on the batch.
        fits: whether a row `[names]` is to be kept.
    """
    complexity = [sum(cost(n, int(p)) for n, p in zip(names, row, strict=True) if p) for row in rows]
    found: list[Exponents] = []
    kept = np.zeros((0, len(names)), dtype=np.int8)
    for index in np.argsort(complexity, kind="stable"):
        row = rows[index]
        inside = (kept == 0) | ((kept * row > 0) & (np.abs(row) >= np.abs(kept)))
        rest = (row - kept[inside.all(axis=1)]).astype(np.float64) @ logs
        if (np.abs(rest).max(axis=1, initial=0.0) < ROUNDING).any() or not fits(row):
            continue
        found.append(row)
        kept = np.concatenate([kept, row[None]])
        if len(found) == MOST_FORMULAS:
            break
    return found


def formula_of(names: Sequence[str], row: Exponents, *, negative: bool = False) -> Formula:
    """The formula with these exponents, `[names]`."""
    return Formula(tuple(zip(names, map(int, row), strict=True)), negative)
