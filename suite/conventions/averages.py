"""Sums and averages over the whole batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.conventions.convention import convention
from suite.units import per

if TYPE_CHECKING:
    from suite.protocols import Loop
    from suite.units import Column, Units


def sum_loop(loop: Loop) -> None:
    (loop.losses().sum() + loop.regulariser()).backward()


@convention(
    protocol=sum_loop,
    formula="Σ_u g_u",
    denominator="none",
    used_by="reduction='sum'; DQN (Mnih et al. 2015); batches in Darknet before the update",
    source="torch/nn/modules/loss.py; DeepMind DQN, NeuralQLearner.lua",
)
def sum_(units: Units) -> Column:
    """Sum over all units."""
    return units.column(1)


def mean_loop(loop: Loop) -> None:
    (loop.losses().sum() / loop.n + loop.regulariser()).backward()


@convention(
    protocol=mean_loop,
    formula="(1/n) Σ_u g_u",
    denominator="sample",
    used_by="most papers; PyTorch CrossEntropyLoss with class indices; the DP-SGD reference",
    source="torch.nn.CrossEntropyLoss, reduction='mean'",
)
def mean(units: Units) -> Column:
    """Mean over samples, each sample's loss summed over its own elements and parts."""
    return units.column(per(units.n))


def element_mean_loop(loop: Loop) -> None:
    count = loop.column("elements").sum().clamp(min=1)
    (loop.losses().sum() / count + loop.regulariser()).backward()


@convention(
    protocol=element_mean_loop,
    formula="(1/Σ_u m_u) Σ_u g_u",
    denominator="element",
    used_by="PyTorch MSELoss, L1Loss, SmoothL1Loss, HuberLoss, BCELoss; Keras sum_over_batch_size",
    source="torch.nn.MSELoss, reduction='mean'; keras/src/losses/loss.py",
)
def element_mean(units: Units) -> Column:
    """Mean over all elements: d times smaller than `mean` where each sample has d outputs."""
    return units.column(per(units.total()))


def batchmean_loop(loop: Loop) -> None:
    losses = loop.losses()
    (losses.sum() / losses.size(0) + loop.regulariser()).backward()


@convention(
    protocol=batchmean_loop,
    formula="(1/size of the first axis) Σ_u g_u",
    denominator="first axis of the batch",
    used_by="PyTorch KLDivLoss(reduction='batchmean')",
    source="torch.nn.KLDivLoss; torch.nn.functional.kl_div",
)
def batchmean(units: Units) -> Column:
    """Sum divided by the size of the first axis: the mean over samples, under PyTorch's name.

    A loss whose input was flattened to [n·T, C] has n·T as its first axis, and is then a token mean.
    """
    return units.column(per(units.n))


def half_mean_loop(loop: Loop) -> None:
    (loop.losses().sum() / (2 * loop.n) + loop.regulariser()).backward()


@convention(
    protocol=half_mean_loop,
    formula="(1/2n) Σ_u g_u",
    denominator="two samples",
    used_by="Caffe EuclideanLoss; scikit-learn MLPRegressor",
    source="caffe/src/caffe/layers/euclidean_loss_layer.cpp; sklearn/neural_network/_base.py",
)
def half_mean(units: Units) -> Column:
    """Mean over samples with the factor ½ that makes the derivative of a square plain."""
    return units.column(0.5 * per(units.n))


def half_sum_loop(loop: Loop) -> None:
    (0.5 * loop.losses().sum() + loop.regulariser()).backward()


@convention(
    protocol=half_sum_loop,
    formula="½ Σ_u g_u",
    denominator="none, with a factor ½",
    used_by="tf.nn.l2_loss; optax.l2_loss (unreduced) summed",
    source="tf.nn.l2_loss documentation; optax/losses/_regression.py",
)
def half_sum(units: Units) -> Column:
    """Sum over all units with the factor ½."""
    return units.column(0.5)


def mean_of_sample_means_loop(loop: Loop) -> None:
    per_sample = loop.losses().sum(1) / loop.column("elements").sum(1).clamp(min=1)
    (per_sample.mean() + loop.regulariser()).backward()


@convention(
    protocol=mean_of_sample_means_loop,
    formula="(1/n) Σ_i (1/m_i) Σ_{u∈i} g_u",
    denominator="sample, after element",
    used_by="MXNet Gluon losses after Trainer.step(n); PyTorch CTCLoss (by target length)",
    source="mxnet/gluon/loss.py; torch.nn.CTCLoss",
)
def mean_of_sample_means(units: Units) -> Column:
    """Each sample's mean over its own elements, then the mean over samples."""
    return units.column(per(units.n) * per(units.sample_total()))
