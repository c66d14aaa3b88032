"""The gradient noise scale, from the Gram matrix of per-sample gradients alone.

With `g_i` the gradients of `n` samples, `G` their expectation and `Σ` their covariance, all that is
needed is in `K = [g_i·g_j]`:

    tr Σ  ≈ (tr K − 1ᵀK1/n)/(n − 1)      the sample variance
    |G|²  ≈ (1ᵀK1 − tr K)/(n(n − 1))     the mean of the products of different samples

Both are unbiased. Their ratio, `B_simple`, is not; gradients of several batches at the same weights
are best pooled, means first, ratio last.

References:
    McCandlish et al. 2018, An Empirical Model of Large-Batch Training, arXiv 1812.06162.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from suite.errors import UsageError


@dataclass(frozen=True)
class NoiseScale:
    """What the per-sample gradients say about the batch size.

    Args:
        trace: the estimate of tr Σ.
        square: the estimate of |G|²; it can come out negative where the noise hides the gradient.
        samples: how many gradients it is from.
    """

    trace: float
    square: float
    samples: int

    @property
    def simple(self) -> float:
        """`B_simple = tr Σ/|G|²`; infinite where these samples do not show a gradient at all."""
        return self.trace / self.square if self.square > 0 else math.inf

    @property
    def critical_batch_size(self) -> float:
        """Where a step loses half of what the full gradient would gain: `B_simple` samples."""
        return self.simple

    @property
    def reason(self) -> str:
        """Why there is no finite scale, or an empty text."""
        if self.square > 0:
            return ""
        return (
            f"|G|² comes out as {self.square:.3g} ≤ 0 from {self.samples} samples: their noise hides "
            "the gradient; take more samples or pool more batches"
        )

    def rate(self, batch_size: float) -> float:
        """`ε_opt(B)/ε_max = 1/(1 + B_simple/B)`, the best rate of SGD relative to the full gradient's."""
        return 1 / (1 + self.simple / batch_size)


def noise_scale(*grams: ArrayLike) -> NoiseScale:
    """The noise scale from one or more Gram matrices of gradients of single samples.

    Args:
        *grams: each `[samples, samples]`, of independent batches at the same weights; not of
            gradients that are divided by the batch size, or averaged over anything but one sample.

    Raises:
        UsageError: A matrix is not square, not finite, or of fewer than two samples.
    """
    if not grams:
        raise UsageError("noise_scale needs at least one Gram matrix")
    checked = [_checked(gram) for gram in grams]
    estimates = np.array([_estimates(gram) for gram in checked])
    weights = np.array([len(gram) - 1 for gram in checked], dtype=np.float64)
    trace, square = np.average(estimates, axis=0, weights=weights)
    return NoiseScale(float(trace), float(square), sum(len(gram) for gram in checked))


def _estimates(gram: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Sequence[float]:
    n, diagonal, total = len(gram), float(np.trace(gram)), float(gram.sum())
    return (diagonal - total / n) / (n - 1), (total - diagonal) / (n * (n - 1))


def _checked(gram: ArrayLike) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    array = np.asarray(gram, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or len(array) < 2:
        raise UsageError(
            f"a Gram matrix of at least two samples is needed, [samples, samples]; "
            f"this one has shape {list(array.shape)}"
        )
    if not np.isfinite(array).all():
        raise UsageError("the Gram matrix holds numbers that are not finite")
    return array
