"""Reductions that follow from each other: a row is often a multiple of another, but for few units.

Of two clip thresholds, `min(1, C/‖g_u‖)`, the coefficients are equal up to the lower one and proportional
from the higher one on: either is a multiple of the other, and a sum over the units that differ. The mean is
a threshold that no unit exceeds. A row that is a multiple of another needs no unit at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from suite.algebra.discrepancy import EPS

Coefficients = NDArray[np.float64]

PROPORTIONAL = 64 * EPS
"""Two ratios of coefficients are one, from so near on."""

NEAR = 3
"""So many of the rows before it are tried as the one that a row follows from."""

OF_ITS_OWN = 0.75
"""A row that differs from all others in a larger share of the units is a sum of its own."""

MAGNIFIED = 16.0
"""How many times its own rounding a row may have, by what it follows from."""


@dataclass(frozen=True)
class Link:
    """A row of coefficients: a multiple of one before it, and few units.

    Args:
        row: its index.
        parent: the index of that row; None where it is a sum of its own.
        factor: of which multiple.
        units: that are summed over; None where nearly all are.
        coefficients: theirs, `[units]`.
    """

    row: int
    parent: int | None
    factor: float
    units: NDArray[np.intp] | None
    coefficients: Coefficients


def chain(rows: Coefficients) -> list[Link]:
    """How `rows` `[conventions, units]` follow from each other, each behind the one that it follows from.

    Where a row and the multiple differ, the multiple must not be the larger one by much: what cancels leaves
    its rounding behind.
    """
    order = np.argsort(_evenness(rows), kind="stable")
    ordered = rows[order]
    first, second = _pairs(len(rows))
    factors, differ, left = _compared(ordered[first], ordered[second])
    counts, multiple, most, parents = (each.tolist() for each in (differ.sum(1), factors, left, second))
    places = order.tolist()
    magnified = [1.0] * len(rows)
    links: list[Link] = []
    start = 0
    for place, row in enumerate(ordered):
        pairs = range(start, start + min(place, NEAR))
        start = pairs.stop
        found = None
        for pair in sorted(pairs, key=counts.__getitem__):
            parent = parents[pair]
            grown = 1 + max(1.0, most[pair]) * magnified[parent]
            if counts[pair] <= OF_ITS_OWN * row.size and grown <= MAGNIFIED:
                units = differ[pair].nonzero()[0]
                rest = row[units] - multiple[pair] * ordered[parent, units]
                found = Link(places[place], places[parent], multiple[pair], units, rest)
                magnified[place] = grown
                break
        links.append(_own(places[place], row) if found is None else found)
    return links


def multiples(links: list[Link]) -> tuple[list[int], Coefficients]:
    """The rows that are no multiple of another, and `[conventions, those]` all rows as multiples of them."""
    own = [link.row for link in links if link.parent is None or len(link.coefficients)]
    mix = np.zeros((len(links), len(own)))
    mix[own, range(len(own))] = 1.0
    for link in links:
        if link.parent is not None and not len(link.coefficients):
            mix[link.row] = link.factor * mix[link.parent]
    return own, mix


def _own(index: int, row: Coefficients) -> Link:
    units = row.nonzero()[0]
    if len(units) > OF_ITS_OWN * row.size:
        return Link(index, None, 0.0, None, row)
    return Link(index, None, 0.0, units, row[units])


def _evenness(rows: Coefficients) -> Coefficients:
    """`[conventions]` largest for the mean, less for lower thresholds and for sums over few units."""
    sizes = np.abs(rows)
    return np.asarray(sizes.sum(1) / np.maximum(sizes.max(1, initial=0.0), np.finfo(float).tiny))


def _pairs(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Each place with those that stand nearly before it, in the order of the former."""
    first, second = np.tril_indices(count, -1)
    near = first - second <= NEAR
    return first[near], second[near]


def _compared(
    rows: Coefficients, others: Coefficients
) -> tuple[Coefficients, NDArray[np.bool_], Coefficients]:
    """Of each row beside another: the ratio of most units, and where it is another.

    Returns:
        `[pairs]` the ratios; `[pairs, units]` which units have others; `[pairs]` how many times as large as
        these units' own coefficients the multiple's are.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = rows / others
        ratios[rows == 0] = np.nan
        inner = np.sort(ratios, axis=1)
        # Neighbours that are alike, and how far back that goes.
        apart = np.ones_like(inner, dtype=bool)
        apart[:, 1:] = ~(np.abs(np.diff(inner, axis=1)) <= PROPORTIONAL * np.abs(inner[:, 1:]))
        places = np.arange(rows.shape[1])
        runs = places - np.maximum.accumulate(np.where(apart, places, 0), axis=1)
        factors = np.take_along_axis(inner, runs.argmax(1, keepdims=True), axis=1)
        differ = ~(np.abs(ratios - factors) <= 2 * PROPORTIONAL * np.abs(factors))
        differ &= (rows != 0) | (others != 0)
        left = np.where(differ, np.abs(factors / ratios), 0.0)
    left[((rows == 0) & differ) | ~np.isfinite(factors)] = np.inf
    return factors[:, 0], differ, left.max(1, initial=0.0)
