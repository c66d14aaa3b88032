"""The few reductions that many conventions come down to.

Most conventions are multiples of each other: a dozen columns of coefficients often span one to four
directions. Only those are reduced, and every convention is a combination of the results.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Basis:
    """Directions that span the rows of coefficients.

    Args:
        rows: `[rank, units]` orthonormal.
        weights: `[conventions, rank]`; the coefficients are `weights @ rows`.
    """

    rows: NDArray[np.float64]
    weights: NDArray[np.float64]


def basis(coefficients: ArrayLike) -> Basis:
    """A basis of the row space of `coefficients` `[conventions, units]`.

    Orthonormal, so that nothing is magnified: conventions that differ by 1e-7 keep all digits of
    their difference. Conventions that are constant on the same groups of units are spanned by the
    sums over groups where these are no more: as their supports are disjoint, all of them together cost
    what one reduction over all units costs.
    """
    given = np.atleast_2d(np.asarray(coefficients, dtype=np.float64))
    sizes = np.linalg.norm(given, axis=1, keepdims=True)
    rest = np.divide(given, sizes, out=np.zeros_like(given), where=sizes > 0)
    rows, picked = _orthonormal(rest, np.zeros((0, given.shape[1])))
    if len(picked) > 1:
        rows, _ = _orthonormal(rest[picked], _groups(rest[picked]))
    return Basis(rows, given @ rows.T)


def _orthonormal(
    rest: NDArray[np.float64], rows: NDArray[np.float64]
) -> tuple[NDArray[np.float64], list[int]]:
    """`rows` and as many more as span what they leave of `rest`, which of it was picked for these."""
    rest, picked = _without(rest, rows), []
    while len(rows) < rest.shape[1]:
        norms = np.linalg.norm(rest, axis=1)
        pick = int(np.argmax(norms))
        if norms[pick] <= 32 * EPS:
            break
        picked.append(pick)
        found = _without(rest[pick] / norms[pick], rows)  # again: the first pass rounds
        rows = np.vstack([rows, found / np.linalg.norm(found)])
        rest = _without(rest, rows[-1:])
        rest[pick] = 0.0
    return rows, picked


def _without(rest: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rest - (rest @ rows.T) @ rows


def _groups(rest: NDArray[np.float64]) -> NDArray[np.float64]:
    """`[groups, units]` normalised indicators that span as many of the rows as possible, or none.

    Rows with the fewest distinct values come first; what counts is the last prefix whose rank is the
    number of groups on which it is constant.
    """
    none = np.zeros((0, rest.shape[1]))
    labels = np.array([np.unique(row, return_inverse=True)[1] for row in rest])
    best, joint = none, np.zeros(rest.shape[1], dtype=np.int64)
    order = np.argsort(labels.max(axis=1), kind="stable")
    for count, row in enumerate(order, start=1):
        pairs = joint * (labels[row].max() + 1) + labels[row]
        _, first, joint = np.unique(pairs, return_index=True, return_inverse=True)
        if len(first) > min(len(rest), rest.shape[1] - 1):
            break
        values = rest[order[:count]][:, first]
        sizes = np.bincount(joint) ** 0.5
        if len(first) > 1 and np.linalg.matrix_rank(values * sizes, tol=32 * EPS) == len(first):
            best = (joint == np.arange(len(first))[:, None]) / sizes[:, None]
    # A group on which everything vanishes needs no sum.
    return np.asarray(best[[bool((rest @ row).any()) for row in best]]) if len(best) else none
