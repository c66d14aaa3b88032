"""The weights of many units from their Gram matrix: Cholesky in float64, refined on the gradients themselves.

The Gram matrix squares the condition number, which float64 can afford where the units' gradients are far from
parallel. What is left of the step's gradient is formed from the gradients and solved for again, so that the
weights have the digits of the gradients, not those of their Gram matrix (iterative refinement).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from suite.algebra.units import Column
from suite.recovery.solve import Matrix

DIRECT = 400
"""Up to so many units all eigenvalues are computed; beyond, the first and the last by Lanczos' method."""

INVERTED = 256
"""How many columns of an inverse are computed at a time."""

REFINEMENTS, EXACT = 4, 1e-12
"""At most so many; none after one that changed no more than this share: the next would change its square."""

Project = Callable[[Tensor], Tensor]
"""The inner products of the units' gradients with what weights leave of the step's gradient."""


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """`K c = G g`, with `K` scaled to a diagonal of ones and factored.

    Args:
        norms: `[units]` of the units' gradients, each larger than 0.
        factor: `[units, units]` the lower triangle `L` of `K / norms / normsᵀ = L Lᵀ`.
        condition: σ_max/σ_min of the units' gradients brought to length one.
    """

    norms: Tensor
    factor: Tensor
    condition: float

    @classmethod
    def of(cls, gram: Tensor, most: float) -> NormalEquations | None:
        """Factored; None where the condition is more than `most`.

        Args:
            gram: `[units, units]` in float64, the lower triangle of `K`; it is overwritten.
            most: the largest condition that is of use.
        """
        norms = gram.diagonal().sqrt()
        # In the order of LAPACK, the factor overwrites the matrix: N² numbers are held once.
        turned = gram.div_(norms[:, None]).div_(norms).mT
        failed = torch.empty((), dtype=torch.int32, device=gram.device)
        torch.linalg.cholesky_ex(turned, upper=True, out=(turned, failed))
        if int(failed):
            return None
        factor = turned.mT
        condition = _condition(factor)
        return cls(norms, factor, condition) if condition <= most else None

    def solve(self, right: Tensor) -> Tensor:
        """`K⁻¹ right`."""
        return torch.cholesky_solve((right / self.norms)[:, None], self.factor)[:, 0] / self.norms

    def refined(self, right: Tensor, left: Project) -> Tensor:
        """The weights of `right = G g`, refined by what they leave."""
        weights, last = self.solve(right), torch.inf
        for _ in range(REFINEMENTS):
            step = self.solve(left(weights))
            size = float((step * self.norms).norm())
            if size >= 0.5 * last:
                break
            weights, last = weights + step, size
            if size <= EXACT * float((weights * self.norms).norm()):
                break
        return weights

    @cached_property
    def spread(self) -> Column:
        """`[units]` by how much an error of the gradient grows in each weight: rows of the pseudo-inverse."""
        units = len(self.norms)
        squares = torch.empty_like(self.norms)
        for start in range(0, units, INVERTED):  # columns of L⁻¹, which begin at their diagonal
            below = self.factor[start:, start:]
            some = min(INVERTED, units - start)
            ones = torch.eye(len(below), some, dtype=below.dtype, device=below.device)
            columns = torch.linalg.solve_triangular(below, ones, upper=False)
            squares[start : start + some] = columns.square_().sum(0)
        return np.asarray((squares.sqrt() / self.norms).cpu().numpy())

    def write_root(self, into: Matrix, columns: NDArray[np.int64]) -> None:
        """Write `R` with `RᵀR = K` into these columns of `[units, …]`, some rows at a time."""
        for start in range(0, len(self.norms), INVERTED):
            some = slice(start, start + INVERTED)
            into[some, columns] = (self.factor.T[some] * self.norms).cpu().numpy()


def _condition(factor: Tensor) -> float:
    """The square root of the quotient of the extreme eigenvalues of `L Lᵀ`, to a hundredth."""
    units = len(factor)
    if units <= DIRECT:
        values = torch.linalg.svdvals(factor)
        return float(values[0] / values[-1])
    from scipy.sparse.linalg import LinearOperator, eigsh  # it takes a second

    def times(vector: Column) -> Column:
        v = torch.as_tensor(vector).to(factor).reshape(-1, 1)
        return np.asarray((factor @ (factor.T @ v)).cpu().numpy())

    def solved(vector: Column) -> Column:
        v = torch.as_tensor(vector).to(factor).reshape(-1, 1)
        return np.asarray(torch.cholesky_solve(v, factor).cpu().numpy())

    start = np.random.default_rng(0).normal(size=units)
    largest, inverse = (
        eigsh(
            LinearOperator((units, units), matvec=f, dtype=np.float64),
            k=1, which="LA", tol=1e-2, return_eigenvectors=False, v0=start,
        )[0]
        for f in (times, solved)
    )  # fmt: skip
    return float(np.sqrt(largest * inverse))
