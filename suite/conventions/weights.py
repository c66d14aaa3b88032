"""Sample and class weights: three frameworks, three denominators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from suite.algebra.units import per
from suite.conventions.convention import convention

if TYPE_CHECKING:
    from torch import Tensor

    from suite.algebra.units import Column, Units
    from suite.loops.loop import Loop


def _weighted(loop: Loop) -> Tensor:
    return (loop.column("weight") * loop.losses()).sum()


def weighted_sum_loop(loop: Loop) -> None:
    (_weighted(loop) + loop.regulariser()).backward()


@convention(
    reference_loop=weighted_sum_loop,
    formula="Σ_u w_u g_u",
    product="w_u",
    denominator="none",
    used_by="PyTorch CrossEntropyLoss(weight=w, reduction='sum'); Keras cross-entropies (sum, sample_weight)",
    source="torch.nn.functional.cross_entropy; keras/src/losses/loss.py, reduce_weighted_values",
    needs=("weight",),
    against="weighted-mean",
)
def weighted_sum(units: Units) -> Column:
    """Weighted sum, nothing divided."""
    return units.column(units.require("weight"))


def weighted_mean_loop(loop: Loop) -> None:
    total = (loop.column("weight") * loop.column("elements")).sum()
    loss = _weighted(loop)
    if total > 0:
        loss = loss / total
    (loss + loop.regulariser()).backward()


@convention(
    reference_loop=weighted_mean_loop,
    formula="Σ_u w_u g_u / Σ_u w_u m_u",
    product="w_u/Σwm",
    denominator="weight",
    used_by="PyTorch weight=w in CrossEntropyLoss, NLLLoss, F.mse_loss; Keras mean_with_sample_weight",
    source="torch.nn.functional.cross_entropy, mse_loss; keras/src/losses/loss.py, reduce_values",
    needs=("weight",),
)
def weighted_mean(units: Units) -> Column:
    """Weighted sum divided by the sum of the weights in this batch.

    The weights of a batch of one sample cancel altogether.
    """
    weight = units.require("weight")
    total = units.total(weight * units.elements)
    return units.column(weight / np.where(total > 0, total, 1))


def sum_over_batch_size_loop(loop: Loop) -> None:
    count = loop.column("elements").sum().clamp(min=1)
    (_weighted(loop) / count + loop.regulariser()).backward()


@convention(
    reference_loop=sum_over_batch_size_loop,
    formula="Σ_u w_u g_u / Σ_u m_u",
    product="w_u/V",
    denominator="element, whatever its weight",
    used_by="Keras sample_weight, class_weight (by default); PyTorch BCELoss(weight=w); Chainer class_weight",
    source="keras/src/losses/loss.py; torch.nn.functional; chainer/functions/loss/softmax_cross_entropy.py",
    needs=("weight",),
    against="weighted-mean",
)
def sum_over_batch_size(units: Units) -> Column:
    """Weighted sum divided by the count, not by the weights (n, where a sample has one element).

    PyTorch does this too in `huber_loss`, and in CrossEntropyLoss once targets are probabilities.
    """
    return units.column(units.require("weight") * per(units.total()))


def sum_by_nonzero_weights_loop(loop: Loop) -> None:
    present = (loop.column("elements") * (loop.column("weight") != 0)).sum().clamp(min=1)
    (_weighted(loop) / present + loop.regulariser()).backward()


@convention(
    reference_loop=sum_by_nonzero_weights_loop,
    formula="Σ_u w_u g_u / Σ_{u: w_u≠0} m_u",
    product="w_u/Σm(w≠0)",
    denominator="element of non-zero weight",
    used_by="tf.compat.v1.losses.* (SUM_BY_NONZERO_WEIGHTS, their default)",
    source="tensorflow/python/ops/losses/losses_impl.py, compute_weighted_loss",
    needs=("weight",),
    against="weighted-mean",
)
def sum_by_nonzero_weights(units: Units) -> Column:
    """Weighted sum divided by the number of elements whose weight is not zero."""
    weight = units.require("weight")
    return units.column(weight * per(units.total(units.elements * (weight != 0))))
