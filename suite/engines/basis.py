"""The few reductions that many conventions come down to.

Most conventions are multiples of each other: a dozen columns of coefficients often span one to four
directions. Only those are reduced, and every convention is a combination of the results.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.algebra.discrepancy import EPS
from suite.engines.chain import Coefficients

APART = 0.5
"""How much of a row has to be left: nearly dependent rows would magnify rounding."""

FACTORS = np.random.default_rng(0).uniform(1, 2, 64)


@dataclass(frozen=True)
class Basis:
    """Directions that span the rows of coefficients.

    Args:
        rows: `[rank, units]` of norm 1; many entries are 0 where many units are treated alike.
        weights: `[conventions, rank]`; the coefficients are `weights @ rows`.
    """

    rows: Coefficients
    weights: Coefficients


def basis(coefficients: ArrayLike, *, turned: bool = False) -> Basis:
    """A basis of the row space of `coefficients` `[conventions, units]`.

    Orthonormal, so that conventions that differ by 1e-7 keep all digits of their difference.

    Args:
        coefficients: by convention.
        turned: make it one in which few units take part in each row, though it is no longer orthogonal.
            Units that some conventions treat alike are a group, which every further row can leave out:
            a clipped mean beside the mean becomes a sum over the units that are clipped, a mean and a
            mean weighted by class become sums over the classes.
    """
    given = np.atleast_2d(np.asarray(coefficients, dtype=np.float64))
    sizes = _norms(given)[:, None]
    normal = np.divide(given, sizes, out=np.zeros_like(given), where=sizes > 0)
    rows, picked = _orthonormal(normal)
    if len(rows) < 2 or not turned:
        return Basis(rows, given @ rows.T)
    few = normal[picked]
    few = few[np.argsort(np.count_nonzero(np.diff(np.sort(few, axis=1)), axis=1), kind="stable")]
    rows = np.linalg.qr(few.T)[0].T
    turn, sparse = _turned(rows, few)
    return Basis(sparse, given @ rows.T @ np.linalg.inv(turn))


def _orthonormal(rest: Coefficients) -> tuple[Coefficients, list[int]]:
    """Rows that span `rest`, and which of it were picked for them: the one of which most is left is next."""
    rest = rest.copy()
    picked: list[int] = []
    rows = np.empty((min(rest.shape), rest.shape[1]))
    for count in range(len(rows)):
        norms = _norms(rest)
        pick = int(norms.argmax())
        if norms[pick] <= 32 * EPS:
            return rows[:count], picked
        picked.append(pick)
        found = rest[pick] / norms[pick]
        found -= (rows[:count] @ found) @ rows[:count]  # again: the first time rounded
        rows[count] = found / np.sqrt(found @ found)
        rest -= np.outer(rest @ rows[count], rows[count])
        rest[pick] = 0.0
    return rows, picked


def _norms(rows: Coefficients) -> Coefficients:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", rows, rows)))


def _groups(rows: Coefficients, most: int) -> list[NDArray[np.intp]]:
    """The units in which all `rows` agree, for each group of two or more; at most `most`, largest first."""
    # One number a unit, alike where all rows are: entry by entry, so that it rounds alike.
    key = rows[0] * FACTORS[0]
    for row, factor in zip(rows[1:], FACTORS[1:], strict=False):
        key += row * factor
    order = key.argsort(kind="stable")
    key = key[order]
    starts = np.concatenate([[0], np.flatnonzero(key[1:] != key[:-1]) + 1, [len(key)]])
    counts = starts[1:] - starts[:-1]
    found = []
    for index in np.argsort(-counts, kind="stable")[:most]:
        group = order[starts[index] : starts[index + 1]]
        values = rows[:, group]
        if len(group) > 1 and values[:, 0].any() and (values == values[:, :1]).all():
            found.append(group)
    return found


def _turned(rows: Coefficients, few: Coefficients) -> tuple[Coefficients, Coefficients]:
    """`[rank, rank]` a turn of the orthonormal `rows` of `few`, and the turned rows.

    Row `k` is what is nearest to `rows[k]` among the combinations of the first `k + 1` that vanish on
    groups of units that are alike in `few[: k + 1]`, at most `k` groups. The first row, alone, has none
    to leave out; it is turned with the second, to leave out another group than that.
    """
    turn = np.eye(len(rows))
    left_out: list[list[NDArray[np.intp]]] = [[]]
    for k in range(1, len(rows)):
        groups = _groups(few[: k + 1], 4 * k)
        columns = [rows[: k + 1, group[0]] for group in groups]
        columns = [column / np.sqrt(column @ column) for column in columns]
        turn[k, : k + 1], chosen = _leave_out(columns, k)
        left_out.append([groups[index] for index in chosen])
        if k == 1:
            for group, (one, other) in zip(groups, columns, strict=True):
                if abs(one * turn[1, 0] + other * turn[1, 1]) >= APART:
                    turn[0, :2], left_out[0] = (other, -one), [group]
                    break
    turned = turn @ rows
    for row, groups in zip(turned, left_out, strict=True):
        for group in groups:
            row[group] = 0.0
    return turn, turned


def _leave_out(columns: list[Coefficients], k: int) -> tuple[Coefficients, list[int]]:
    """`[k + 1]` what is left of the last axis without `k` of these directions, and without which."""
    span, rest, chosen = np.zeros((k, k + 1)), np.eye(k + 1)[k], []
    count = 0
    for index, column in enumerate(columns):
        found = column - (span @ column) @ span
        size = np.sqrt(found @ found)
        if size < 32 * EPS:
            chosen.append(index)
        elif size >= APART and count < k:
            found /= size
            less = rest - (rest @ found) * found
            if less @ less >= APART**2:
                span[count], rest, count = found, less, count + 1
                chosen.append(index)
    return rest / np.sqrt(rest @ rest), chosen
