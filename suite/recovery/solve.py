"""The weights behind a gradient: `Gᵀc = g` solved, and what can be known of the solution.

A root of the Gram matrix of `[Gᵀ g]`, units × units, holds all: weights, residual, condition, and which
units cannot be told apart. It is found without squaring the condition number, in passes over the parameters
that take a piece at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from suite.algebra.discrepancy import EPS
from suite.algebra.gram import Gram
from suite.algebra.units import Column
from suite.engines.unit_gradients import as_rows

CHUNK = 16384  # parameters at a time: a piece stays near the processor
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Root:
    """`R` with `RᵀR = [Gᵀ B]ᵀ[Gᵀ B]`: inner products of columns are those of the originals.

    Args:
        r: `[rows, units + sides]`.
        units: how many of the columns are units' gradients.
    """

    r: Matrix
    units: int

    @property
    def gradients(self) -> Matrix:
        """`[rows, units]` the units' gradients, turned."""
        return self.r[:, : self.units]

    @property
    def gram(self) -> Gram:
        """`[units, units]` the Gram matrix `K`."""
        return np.asarray(self.gradients.T @ self.gradients)

    @property
    def side(self) -> Matrix:
        """`[rows]` the last column: the gradient to be explained."""
        return np.asarray(self.r[:, -1])

    @cached_property
    def norms(self) -> Column:
        """`[units]` the norms of the units' gradients."""
        return np.asarray(np.linalg.norm(self.gradients, axis=0))


def roots(
    blocks: Mapping[str, Tensor],
    sides: Sequence[Mapping[str, Tensor]],
    keep: Mapping[str, Tensor] | None = None,
) -> dict[str, Root]:
    """The root of each parameter, in float64.

    Args:
        blocks: by parameter name, `[units, *parameter.shape]`.
        sides: vectors to be explained, by parameter name, `[*parameter.shape]`.
        keep: by parameter name, which of its entries to look at; all where it is None.
    """
    found = {}
    for name, block in blocks.items():
        vectors = [side[name].to(block).reshape(1, -1) for side in sides]
        rows = [as_rows(block), *vectors]
        kept = None if keep is None else keep[name].flatten()
        found[name] = Root(_root(rows, kept), len(block))
    return found


def together(parts: Mapping[str, Root]) -> Root:
    """The root of all parameters from the roots of each."""
    first = next(iter(parts.values()))
    rows = np.concatenate([part.r for part in parts.values()])
    return Root(np.asarray(np.linalg.qr(rows, mode="r")) if len(rows) > rows.shape[1] else rows, first.units)


def _root(rows: Sequence[Tensor], keep: Tensor | None) -> Matrix:
    """`R` with `RᵀR = AᵀA`, `A` being the transposed rows; `A` itself where it is no taller than wide.

    The Gram matrix alone would do in float32, whose own rounding is coarser than the square root of
    float64's. For float64 its root is the first of two steps: it brings `A` near to orthonormal
    columns, `A T`, whose own root then loses nothing: the two have the accuracy of a QR decomposition
    and cost matrix products only (the idea of CholeskyQR2, Fukaya et al. 2014, with eigenvalues, which
    also exist where units are alike).
    """
    columns = sum(len(row) for row in rows)
    length = rows[0].shape[1] if keep is None else int(keep.sum())
    if length <= columns:
        return np.concatenate([piece.cpu().numpy().T for piece in _pieces(rows, keep)])
    gram = _gram(_pieces(rows, keep))
    norms = np.sqrt(np.diagonal(gram))
    silent = norms == 0.0
    norms[silent] = 1.0
    values, vectors = np.linalg.eigh(gram / norms / norms[:, None])
    if rows[0].dtype != torch.float64:
        return np.asarray(np.sqrt(values.clip(0.0))[:, None] * vectors.T * norms)
    sizes = np.sqrt(values.clip(columns * EPS * values[-1] if values[-1] > 0 else 1.0))
    turn = torch.from_numpy((vectors / sizes / norms[:, None]).T.copy())
    again = _gram(turn.to(piece.device) @ piece for piece in _pieces(rows, keep))
    values, turned = np.linalg.eigh(again)
    root = (np.sqrt(values.clip(0.0))[:, None] * turned.T) @ ((vectors * sizes).T * norms)
    root[:, silent] = 0.0  # not the rounding of the others
    return np.asarray(root)


def _gram(pieces: Iterable[Tensor]) -> Matrix:
    """The sum of `piece pieceᵀ`."""
    total = sum(piece @ piece.T for piece in pieces)
    return np.asarray(torch.as_tensor(total).cpu().numpy())


def _pieces(rows: Sequence[Tensor], keep: Tensor | None) -> Iterator[Tensor]:
    """Some columns of `rows` at a time, of those to `keep`, in float64."""
    for start in range(0, max(rows[0].shape[1], 1), CHUNK):
        wanted = slice(start, start + CHUNK)
        piece = torch.cat([row[:, wanted] for row in rows])
        if keep is not None:
            piece = piece[:, keep[wanted]]
        # A device without float64 (mps) hands its rows to the processor.
        yield (piece.cpu() if piece.device.type == "mps" else piece).double()


@dataclass(frozen=True, eq=False)
class Solution:
    """The weights nearest to a gradient, and what is known of them.

    Args:
        weights: `[units]` the least-squares weights, of smallest length where there are many.
        error: `[units]` a bound of each weight's error; infinite where it cannot be known.
        identifiable: `[units]` whether the weight can be told from this batch.
        silent: `[units]` whether the unit's gradient is zero.
        residual: the norm of what no weighting explains, the part of the gradient outside the units' span.
        size: the norm of the gradient.
        rounding: the norm that rounding in the gradient and in the units' gradients may have.
        rank: how many directions of weights can be told.
        condition: σ_max/σ_min of the units' gradients brought to length one, over what can be told.
        inverse: `[units, rows]` the pseudo-inverse.
        null: `[units, nullity]` the directions in which weights, times norms, can change unseen.
        threshold: how much of a unit may lie in them before it cannot be told.
    """

    weights: Column
    error: Column
    identifiable: NDArray[np.bool_]
    silent: NDArray[np.bool_]
    residual: float
    size: float
    rounding: float
    rank: int
    condition: float
    inverse: Matrix
    null: Matrix
    threshold: float

    @property
    def radius(self) -> float:
        """How far the gradient may be from the weights' own, all errors together."""
        return self.rounding + self.residual


def solve(matrix: Matrix, side: Matrix, precision: float, tolerance: float = 0.0) -> Solution:
    """Solve `matrix · c = side` for as much of `c` as can be known.

    Columns are brought to length one first, so that a unit with a small gradient is not lost beside
    others. Error bound: `‖row of the pseudo-inverse‖ · (rounding + residual)`.

    Args:
        matrix: `[rows, units]`, the units' gradients.
        side: `[rows]`, the gradient.
        precision: the relative rounding error of the units' gradients and of the gradient.
        tolerance: that of the gradient alone, where it is coarser: directions of weights that it
            drowns cannot be told.
    """
    norms = np.linalg.norm(matrix, axis=0)
    silent = norms <= precision * norms.max(initial=0.0)
    lengths = np.where(silent, 1.0, norms)
    scaled = np.where(silent, 0.0, matrix / lengths)
    u, sigma, vt = np.linalg.svd(scaled, full_matrices=True)
    largest = float(sigma.max(initial=0.0))
    noise = np.sqrt(len(norms)) * max(precision, 16 * EPS) * largest
    spanned = int((sigma > noise).sum())
    rank = int((sigma > max(noise, tolerance * largest)).sum())
    smallest = float(sigma[rank - 1]) if rank else 1.0

    inverse = (vt[:rank].T / sigma[:rank]) @ u[:, :rank].T
    weights = inverse @ side / lengths
    null = vt[rank:].T
    leak = np.linalg.norm(null, axis=1)
    threshold = float(np.clip(8 * noise / smallest, 1e-9, 1e-3))
    identifiable = (leak <= threshold) & ~silent

    # By its factors: through the weights, the projection would lose as many digits as the condition has.
    span = u[:, :spanned]
    residual = float(np.linalg.norm(side - span @ (span.T @ side)))
    size = float(np.linalg.norm(side))
    rounding = float(precision * (np.abs(weights) @ norms + size) + tolerance * size)
    spread = np.linalg.norm(inverse, axis=1) * (rounding + residual)
    error = (spread + leak * np.linalg.norm(weights * lengths)) / lengths
    return Solution(
        weights=weights,
        error=np.where(identifiable, error, np.inf),
        identifiable=identifiable,
        silent=silent,
        residual=residual,
        size=size,
        rounding=rounding,
        rank=rank,
        condition=largest / smallest if rank else np.nan,
        inverse=inverse / lengths[:, None],
        null=null,
        threshold=threshold,
    )


@dataclass(frozen=True)
class Group:
    """Units whose gradients are multiples of each other: only a sum of their weights can be told.

    Args:
        units: which.
        ratios: each one's gradient over that of the first; all 1 for duplicated samples.
        total: `Σ ratio·weight`; None where not even that can be told.
        error: a bound of its error; None where there is no total.
    """

    units: tuple[int, ...]
    ratios: tuple[float, ...]
    total: float | None
    error: float | None

    @property
    def duplicates(self) -> bool:
        """Whether the gradients are the same, so that the total is the plain sum."""
        return bool(np.allclose(self.ratios, 1.0, rtol=1e-6, atol=0.0))


def groups(matrix: Matrix, solution: Solution, precision: float) -> tuple[Group, ...]:
    """The groups of units with parallel gradients, in the order of their first units."""
    norms = np.linalg.norm(matrix, axis=0)
    loose = np.flatnonzero(~solution.identifiable & ~solution.silent)
    directions = matrix[:, loose] / norms[loose]
    same = 4 * np.sqrt(len(norms)) * max(precision, 16 * EPS)
    found, taken = [], np.zeros(len(loose), dtype=bool)
    for first in range(len(loose)):
        if taken[first]:
            continue
        signs = np.sign(directions.T @ directions[:, first])
        apart = np.linalg.norm(directions * signs - directions[:, [first]], axis=0)
        members = (apart <= same) & ~taken
        if members.sum() < 2:
            continue
        taken |= members
        chosen, signs = loose[members], signs[members]
        ratios = signs * norms[chosen] / norms[loose[first]]
        found.append(_group(chosen, ratios, signs, solution))
    return tuple(found)


def _group(units: NDArray[np.int64], ratios: Column, signs: Column, solution: Solution) -> Group:
    hidden = np.linalg.norm(signs @ solution.null[units]) / np.sqrt(len(units))
    total: float | None = float(ratios @ solution.weights[units])
    error: float | None = None
    if hidden > solution.threshold:
        total = None
    else:
        error = float(np.linalg.norm(ratios @ solution.inverse[units]) * solution.radius)
    return Group(tuple(units.tolist()), tuple(ratios.tolist()), total, error)
