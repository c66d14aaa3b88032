"""Gradient accumulation: K micro-batches make one step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from suite.algebra.units import per
from suite.conventions.convention import convention

if TYPE_CHECKING:
    from torch import Tensor

    from suite.algebra.units import Column, Units
    from suite.loops.loop import Loop


def mean_loss(loop: Loop) -> Tensor:
    """What `reduction='mean'` and a penalty give for one micro-batch or one rank."""
    count = loop.column("elements").sum().clamp(min=1)
    return loop.losses().sum() / count + loop.regulariser()


def mean_of_microbatch_means_loop(loop: Loop) -> None:
    window = loop.microbatches()
    for microbatch in window:
        (mean_loss(microbatch) / len(window)).backward()


@convention(
    reference_loop=mean_of_microbatch_means_loop,
    formula="(1/K) Σ_k (1/V_k) Σ_{u∈k} g_u, V_k the elements of micro-batch k",
    product="1/(K·V_k)",
    denominator="micro-batch, after element",
    used_by="loops with loss / K; Keras gradient_accumulation_steps; optax.MultiSteps; Megatron-Core",
    source="PyTorch's AMP examples; optax MultiSteps; megatron/core/pipeline_parallel/schedules.py",
    needs=("microbatches",),
    against="window-exact",
)
def mean_of_microbatch_means(units: Units) -> Column:
    """Each micro-batch's mean, then the mean over the micro-batches that there are."""
    return units.column(per(units.groups("microbatch")) * per(units.total(by="microbatch")))


def sum_of_microbatch_means_loop(loop: Loop) -> None:
    for microbatch in loop.microbatches():
        mean_loss(microbatch).backward()


@convention(
    reference_loop=sum_of_microbatch_means_loop,
    formula="Σ_k (1/V_k) Σ_{u∈k} g_u",
    product="1/V_k",
    denominator="element of the micro-batch",
    used_by="loops in which nobody divided by K; Horovod backward_passes_per_step; optax use_grad_mean=False",
    source="horovod/torch/optimizer.py; horovod/tensorflow/gradient_aggregation.py (read, not run)",
    needs=("microbatches",),
    against="mean-of-microbatch-means",
)
def sum_of_microbatch_means(units: Units) -> Column:
    """Each micro-batch's mean, summed. The regulariser is counted K times too."""
    return units.column(per(units.total(by="microbatch")), regulariser=units.groups("microbatch"))


def window_exact_loop(loop: Loop) -> None:
    window = loop.microbatches()
    count = sum(microbatch.column("elements").sum() for microbatch in window)
    for microbatch in window:
        loss = microbatch.losses().sum() / max(count, 1)
        (loss + loop.regulariser() / len(window)).backward()


@convention(
    reference_loop=window_exact_loop,
    formula="(1/Σ_k V_k) Σ_u g_u",
    product="1/V",
    denominator="element of the window",
    used_by="Hugging Face Trainer (num_items_in_batch); fairseq update_freq; torchtune",
    source="transformers/trainer.py, _get_num_items_in_batch (PR 34191); fairseq/trainer.py, train_step",
    needs=("microbatches",),
)
def window_exact(units: Units) -> Column:
    """Micro-batch sums over one count for the whole window: the batch that was not split."""
    return units.column(per(units.total()))


def partial_window_over_full_k_loop(loop: Loop) -> None:
    for microbatch in loop.microbatches():
        (mean_loss(microbatch) / loop.units.window).backward()


@convention(
    reference_loop=partial_window_over_full_k_loop,
    formula="(1/K_full) Σ_k (1/V_k) Σ_{u∈k} g_u",
    product="1/(W·V_k)",
    denominator="micro-batch of a full window, after element",
    used_by="Accelerate; PyTorch Lightning (the last, partial window of an epoch)",
    source="accelerate/accelerator.py, backward; github.com/Lightning-AI/pytorch-lightning/issues/19987",
    needs=("microbatches",),
    against="mean-of-microbatch-means",
)
def partial_window_over_full_k(units: Units) -> Column:
    """Micro-batch means divided by the full K though the window holds fewer micro-batches."""
    share = per(units.window)
    return units.column(
        share * per(units.total(by="microbatch")),
        regulariser=float(share * units.groups("microbatch")),
    )


def share_weighted_microbatch_means_loop(loop: Loop) -> None:
    for microbatch in loop.microbatches():
        (mean_loss(microbatch) * (microbatch.n / loop.n)).backward()


@convention(
    reference_loop=share_weighted_microbatch_means_loop,
    formula="Σ_k (n_k/n) (1/V_k) Σ_{u∈k} g_u, n_k the samples and V_k the elements of micro-batch k",
    product="n_k/(n·V_k)",
    denominator="element of the micro-batch, by its share of the samples",
    used_by="verl's FSDP actor with use_dynamic_bsz and loss_agg_mode=token-mean: how DAPO was trained",
    source="volcengine/verl@b178a3c, verl/workers/actor/dp_actor.py, update_policy",
    needs=("microbatches",),
    against="window-exact",
)
def share_weighted_microbatch_means(units: Units) -> Column:
    """Each micro-batch's mean times its share of the samples, summed.

    Where samples have one element each this is the mean. Where their lengths differ it is neither the token
    mean nor the mean of micro-batch means.
    """
    samples = units.total(np.full(len(units), 1 / max(len(units.parts), 1)), by="microbatch")
    return units.column(samples * per(units.n) * per(units.total(by="microbatch")))
