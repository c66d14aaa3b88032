"""The algebra of the Gram matrix `K = G Gᵀ`, `G` being units × parameters.

For columns `a`, `b` of coefficients, `aᵀKb` is the inner product of the two reduced gradients
`aᵀG` and `bᵀG`. Norms, clip factors, distances and angles between any two conventions follow from
`K` alone, and a distance `√(dᵀKd)`, `d = a − b`, has none of the cancellation that subtracting two
gradients has.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from suite.algebra.units import Column, Index
from suite.errors import CaseError

Gram = NDArray[np.float64]

LARGE = 1e240
"""Squared norms above this or below its inverse are refused: sums of them may leave what float64 holds."""


def require_range(gram: Gram) -> None:
    """Make sure that sums of inner products are numbers, and precise ones.

    Raises:
        CaseError: The largest gradient's square is infinite, or near the limits of float64.
    """
    largest = float(np.diagonal(gram).max(initial=0.0)) if np.isfinite(gram).all() else np.inf
    if largest > LARGE or 0.0 < largest < 1 / LARGE:
        raise out_of_range("large" if largest > LARGE else "small")


def out_of_range(how: str) -> CaseError:
    """Gradients that are too `how`."""
    return CaseError(f"the gradients are so {how} that float64 does not hold their squares: scale the losses")


def inner(gram: Gram, a: Column, b: Column) -> float:
    """`aᵀKb`, the inner product of the reduced gradients of `a` and `b`."""
    return float(a @ gram @ b)


def norm(gram: Gram, column: Column) -> float:
    """`√(cᵀKc)`, the Euclidean norm of the reduced gradient of `column`."""
    return float(np.sqrt(max(inner(gram, column, column), 0.0)))


def unit_norms(gram: Gram) -> Column:
    """`[units]` the norm of each unit's gradient."""
    return np.asarray(np.sqrt(np.maximum(np.diagonal(gram), 0.0)))


def per_sample(gram: Gram, sample: Index) -> Gram:
    """`[samples, samples]` the Gram matrix of whole samples: each one's units summed, no regulariser.

    Args:
        gram: `[units, units]`.
        sample: `[units]` the sample of each unit; −1 for the regulariser.
    """
    member = (sample[:, None] == np.unique(sample[sample >= 0])).astype(np.float64)
    return np.asarray(member.T @ gram @ member)


def clip_factor(norms: Column | float, max_norm: float, added: float = 0.0) -> Column:
    """`min(1, C/(‖g‖ + added))`, and 1 for a zero gradient.

    With nothing added this is the formula of Abadi et al. (2016), Caffe and TensorFlow. PyTorch's
    `clip_grad_norm_` and Opacus add 1e-6, which no change of threshold can compensate exactly.
    """
    return np.asarray(max_norm / np.maximum(np.asarray(norms) + added, max_norm))


def cancellation(gram: Gram, column: Column) -> float:
    """`(Σ|c_u|‖g_u‖)² / ‖cᵀG‖²`, by how much rounding is magnified in the squared norm of `cᵀG`."""
    total = float(np.abs(column) @ unit_norms(gram))
    square = inner(gram, column, column)
    if total == 0.0:
        return 1.0
    return total * total / square if square > 0.0 else np.inf
