"""Clipping by norm: of what, and before or after dividing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from suite.algebra.gram import clip_factor, norm, unit_norms
from suite.algebra.units import per
from suite.conventions.accumulation import mean_loss
from suite.conventions.averages import mean, sum_
from suite.conventions.convention import convention

if TYPE_CHECKING:
    from suite.algebra.gram import Gram
    from suite.algebra.units import Column, Grouping, Units
    from suite.loops.loop import Loop


def clip_each_unit_loop(loop: Loop) -> None:
    for sample in loop.samples():
        for part in range(max(len(loop.units.parts), 1)):
            gradient = sample.gradient(sample.losses()[0, part])
            loop.accumulate(loop.clip(gradient), divide_by=loop.n)
    if loop.penalty is not None:
        loop.accumulate(loop.gradient(loop.regulariser()))


@convention(
    reference_loop=clip_each_unit_loop,
    formula="(1/n) Σ_u min(1, C/‖g_u‖) g_u",
    product="min(1, C/‖g_u‖)/n",
    denominator="sample",
    used_by="DP-SGD (Abadi et al. 2016) without its noise; Opacus; optax.contrib.dpsgd; TF-Privacy",
    source="arXiv 1607.00133, Algorithm 1; opacus/optimizers/optimizer.py; optax/contrib/_privacy.py",
    needs=("max_norm",),
    against="clip-mean",
)
def clip_each_unit(units: Units, gram: Gram) -> Column:
    """Each unit's gradient clipped to C, then the mean over samples. The regulariser is not clipped.

    The paper divides by the expected batch size, Opacus by that times the steps that are accumulated; Opacus
    adds 1e-6 to each norm, optax nothing.
    """
    factors = clip_factor(unit_norms(gram), units.require("max_norm"), units.added_to_norm)
    return units.column(factors * per(units.n))


def clip_mean_loop(loop: Loop) -> None:
    loss = loop.losses().sum() / loop.n + loop.regulariser()
    loop.accumulate(loop.clip(loop.gradient(loss)))


@convention(
    reference_loop=clip_mean_loop,
    formula="min(1, C/‖ḡ‖) ḡ, ḡ = (1/n) Σ_u g_u",
    product="min(1, C/‖g‖)/n",
    denominator="sample",
    used_by="clip_grad_norm_ (PyTorch), global_clipnorm (Keras), clip_by_global_norm (optax), of a mean",
    source="torch/nn/utils/clip_grad.py; keras/src/optimizers/base_optimizer.py; arXiv 1211.5063",
    needs=("max_norm",),
)
def clip_mean(units: Units, gram: Gram) -> Column:
    """The mean over samples, clipped to C.

    `clip_grad_norm_` adds 1e-6 to the norm: it comes out smaller by the factor 1 − 1e-6/(‖ḡ‖ + 1e-6). optax
    adds nothing.
    """
    return _clipped(units, mean.column(units), gram)


def clip_sum_then_divide_loop(loop: Loop) -> None:
    loss = loop.losses().sum() + loop.regulariser()
    loop.accumulate(loop.clip(loop.gradient(loss)), divide_by=loop.n)


@convention(
    reference_loop=clip_sum_then_divide_loop,
    formula="(1/n) min(1, C/‖Σ_u g_u‖) Σ_u g_u",
    product="min(1, C/‖n·g‖)/n",
    denominator="sample",
    used_by="Caffe clip_gradients with iter_size (of one sample each); loops that divide after clipping",
    source="caffe/src/caffe/solvers/sgd_solver.cpp, ApplyUpdate (read, not run)",
    needs=("max_norm",),
    against="clip-mean-at-c-over-n",
)
def clip_sum_then_divide(units: Units, gram: Gram) -> Column:
    """The sum clipped to C, then divided by n: the mean clipped to C/n.

    Caffe adds its weight decay after that, unclipped.
    """
    return _clipped(units, sum_.column(units), gram) * per(units.n)


def clip_mean_at_c_over_n_loop(loop: Loop) -> None:
    loss = loop.losses().sum() / loop.n + loop.regulariser()
    loop.accumulate(loop.clip(loop.gradient(loss), loop.units.require("max_norm") / loop.n))


@convention(
    reference_loop=clip_mean_at_c_over_n_loop,
    formula="min(1, (C/n)/‖ḡ‖) ḡ, ḡ = (1/n) Σ_u g_u",
    product="min(1, (C/n)/‖g‖)/n",
    denominator="sample",
    used_by="the translation of clip-sum-then-divide into the usual order",
    source="follows from homogeneity of the norm",
    needs=("max_norm",),
)
def clip_mean_at_c_over_n(units: Units, gram: Gram) -> Column:
    """The mean over samples, clipped to C/n."""
    return _clipped(units, mean.column(units), gram, units.require("max_norm") / units.n)


def clip_each_microbatch_loop(loop: Loop) -> None:
    window = loop.microbatches()
    for microbatch in window:
        gradient = microbatch.gradient(mean_loss(microbatch))
        loop.accumulate(loop.clip(gradient), divide_by=len(window))


@convention(
    reference_loop=clip_each_microbatch_loop,
    formula="(1/K) Σ_k min(1, C/‖ḡ_k‖) ḡ_k, ḡ_k the mean over micro-batch k",
    product="min(1, C/‖g_k‖)/(K·V_k)",
    denominator="micro-batch, after element",
    used_by="TF-Privacy (num_microbatches); loops that clip each micro-batch before they add it",
    source="tensorflow_privacy/privacy/optimizers/dp_optimizer_keras.py (read, not run)",
    needs=("max_norm", "microbatches"),
    against="clip-mean",
)
def clip_each_microbatch(units: Units, gram: Gram) -> Column:
    """Each micro-batch's mean clipped to C, then the mean over micro-batches."""
    return _clip_groups(units, gram, "microbatch") * per(units.groups("microbatch"))


def clip_each_rank_then_sum_loop(loop: Loop) -> None:
    gradients = [loop.clip(rank.gradient(mean_loss(rank))) for rank in loop.ranks()]
    loop.accumulate(loop.all_reduce(gradients))


@convention(
    reference_loop=clip_each_rank_then_sum_loop,
    formula="Σ_r min(1, C/‖ḡ_r‖) ḡ_r, ḡ_r the mean over rank r",
    product="min(1, C/‖g_r‖)/V_r",
    denominator="element of the rank",
    used_by="BERT on TPUs: each shard clips to 1, then CrossShardOptimizer.apply_gradients sums",
    source="google-research/bert/optimization.py; tensorflow tpu_optimizer.py (read, not run)",
    needs=("max_norm", "ranks"),
    against="clip-mean",
)
def clip_each_rank_then_sum(units: Units, gram: Gram) -> Column:
    """Each rank's mean clipped to C, then summed over ranks."""
    return _clip_groups(units, gram, "rank")


def clip_each_rank_then_mean_loop(loop: Loop) -> None:
    gradients = [loop.clip(rank.gradient(mean_loss(rank))) for rank in loop.ranks()]
    loop.accumulate(loop.all_reduce(gradients), divide_by=len(gradients))


@convention(
    reference_loop=clip_each_rank_then_mean_loop,
    formula="(1/R) Σ_r min(1, C/‖ḡ_r‖) ḡ_r, ḡ_r the mean over rank r",
    product="min(1, C/‖g_r‖)/(R·V_r)",
    denominator="rank, after element",
    used_by="DDPM on TPUs (with R·C: each shard clips its share, the shares are summed); loops that clip "
    "before the all-reduce",
    source="hojonathanho/diffusion@1e0dceb, diffusion_tf/utils.py, make_optimizer",
    needs=("max_norm", "ranks"),
    against="clip-mean",
)
def clip_each_rank_then_mean(units: Units, gram: Gram) -> Column:
    """Each rank's mean clipped to C, then the mean over ranks."""
    return _clip_groups(units, gram, "rank") * per(units.groups("rank"))


def _clipped(units: Units, column: Column, gram: Gram, max_norm: float | None = None) -> Column:
    threshold = units.require("max_norm") if max_norm is None else max_norm
    return column * clip_factor(norm(gram, column), threshold, units.added_to_norm)


def _clip_groups(units: Units, gram: Gram, by: Grouping) -> Column:
    """The sum over groups of each group's clipped mean, in which the regulariser takes part."""
    index = units.require(by)
    means = units.column(per(units.total(by=by)))
    total = np.zeros(len(units))
    for group in np.unique(index[units.data]):
        inside = (index == group) | ~units.data
        total += _clipped(units, np.where(inside, means, 0.0), gram)
    return total
