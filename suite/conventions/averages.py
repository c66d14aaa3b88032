"""Sums and averages over the whole batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.algebra.units import per
from suite.conventions.convention import convention

if TYPE_CHECKING:
    from suite.algebra.units import Column, Units
    from suite.loops.loop import Loop


def sum_loop(loop: Loop) -> None:
    (loop.losses().sum() + loop.regulariser()).backward()


@convention(
    reference_loop=sum_loop,
    formula="Σ_u g_u",
    product="1",
    denominator="none",
    used_by="PyTorch reduction='sum'; DQN (Mnih et al. 2015: 32 clipped errors)",
    source="torch.nn.functional; DeepMind's dqn/NeuralQLearner.lua, getQUpdate and qLearnMinibatch",
)
def sum_(units: Units) -> Column:
    """Sum over all units."""
    return units.column(1)


def mean_loop(loop: Loop) -> None:
    (loop.losses().sum() / loop.n + loop.regulariser()).backward()


@convention(
    reference_loop=mean_loop,
    formula="(1/n) Σ_u g_u",
    product="1/n",
    denominator="sample",
    used_by="PyTorch CrossEntropyLoss with class indices; AlexNet (batches of 128); Darknet's update",
    source="torch.nn.functional.cross_entropy; Krizhevsky et al. 2012, §5; darknet/src/connected_layer.c",
)
def mean(units: Units) -> Column:
    """Mean over samples, each sample's loss summed over its own elements and parts."""
    return units.column(per(units.n))


def element_mean_loop(loop: Loop) -> None:
    count = loop.column("elements").sum().clamp(min=1)
    (loop.losses().sum() / count + loop.regulariser()).backward()


@convention(
    reference_loop=element_mean_loop,
    formula="(1/Σ_u m_u) Σ_u g_u",
    product="1/V",
    denominator="element",
    used_by="PyTorch MSELoss, L1Loss, SmoothL1Loss, HuberLoss, BCELoss, KLDivLoss; Keras sum_over_batch_size",
    source="torch.nn.functional, reduction='mean'; keras/src/losses/loss.py, reduce_values",
)
def element_mean(units: Units) -> Column:
    """Mean over all elements: d times smaller than `mean` where each sample has d outputs."""
    return units.column(per(units.total()))


def batchmean_loop(loop: Loop) -> None:
    losses = loop.losses()
    (losses.sum() / losses.size(0) + loop.regulariser()).backward()


@convention(
    reference_loop=batchmean_loop,
    formula="(1/size of the first axis) Σ_u g_u",
    product="1/n",
    denominator="first axis of the batch",
    used_by="PyTorch KLDivLoss(reduction='batchmean')",
    source="torch.nn.functional.kl_div",
)
def batchmean(units: Units) -> Column:
    """Sum divided by the size of the first axis: the mean over samples, under PyTorch's name.

    A loss whose input was flattened to [n·T, C] has n·T as its first axis, and is then a token mean.
    """
    return units.column(per(units.n))


def half_mean_loop(loop: Loop) -> None:
    (loop.losses().sum() / (2 * loop.n) + loop.regulariser()).backward()


@convention(
    reference_loop=half_mean_loop,
    formula="(1/2n) Σ_u g_u",
    product="1/(2·n)",
    denominator="two samples",
    used_by="Caffe EuclideanLoss; scikit-learn MLPRegressor; optax.l2_loss summed by sample, then averaged",
    source="caffe euclidean_loss_layer.cpp; sklearn/neural_network/_multilayer_perceptron.py",
)
def half_mean(units: Units) -> Column:
    """Mean over samples with the factor ½ that makes the derivative of a square plain.

    The loss that MLPRegressor reports is also divided by the outputs; its gradient is not.
    """
    return units.column(0.5 * per(units.n))


def half_sum_loop(loop: Loop) -> None:
    (0.5 * loop.losses().sum() + loop.regulariser()).backward()


@convention(
    reference_loop=half_sum_loop,
    formula="½ Σ_u g_u",
    product="1/2",
    denominator="none, with a factor ½",
    used_by="tf.nn.l2_loss; optax.l2_loss (unreduced), summed",
    source="tensorflow/python/ops/gen_nn_ops.py, l2_loss; optax/losses/_regression.py",
)
def half_sum(units: Units) -> Column:
    """Sum over all units with the factor ½."""
    return units.column(0.5)


def mean_of_sample_means_loop(loop: Loop) -> None:
    per_sample = loop.losses().sum(1) / loop.column("elements").sum(1).clamp(min=1)
    (per_sample.mean() + loop.regulariser()).backward()


@convention(
    reference_loop=mean_of_sample_means_loop,
    formula="(1/n) Σ_i (1/m_i) Σ_{u∈i} g_u",
    product="1/(n·V_i)",
    denominator="sample, after element",
    used_by="PyTorch CTCLoss (by target length), MultiMarginLoss (by class); MXNet Gluon, Trainer.step(n)",
    source="torch.nn.functional.ctc_loss; mxnet/gluon/loss.py and trainer.py (read, not run)",
)
def mean_of_sample_means(units: Units) -> Column:
    """Each sample's mean over its own elements, then the mean over samples.

    MXNet's `L2Loss` has a factor ½ besides.
    """
    return units.column(per(units.n) * per(units.sample_total()))
