"""Known mistakes: what a broken loop really computes, as conventions named `fault:…`.

Each is compared with the convention that its author meant. A run measures them only where they are
asked for (`--convention 'fault:*'`); recovery always knows them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from suite.algebra.gram import clip_factor, norm
from suite.algebra.units import per
from suite.conventions.accumulation import (
    mean_loss,
    mean_of_microbatch_means,
    partial_window_over_full_k,
    sum_of_microbatch_means,
)
from suite.conventions.convention import convention
from suite.conventions.ranks import mean_of_rank_means

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from suite.algebra.gram import Gram
    from suite.algebra.units import Column, Units
    from suite.loops.loop import Loop


def _sample_losses(loop: Loop) -> Iterator[Tensor]:
    for sample in loop.samples():
        yield sample.losses().sum() + loop.regulariser()


def _zero_in_place(loop: Loop) -> None:
    """`optimizer.zero_grad(set_to_none=False)`, torch's only way until 1.7 and its default until 2.0."""
    for parameter in loop.parameters:
        if parameter.grad is not None:
            parameter.grad.zero_()


def never_zeroed_loop(loop: Loop) -> None:
    totals = [0 * parameter.detach() for parameter in loop.parameters]
    for loss in _sample_losses(loop):
        loss.backward()
        for total, parameter in zip(totals, loop.parameters, strict=True):
            if parameter.grad is not None:
                total += parameter.grad
    for parameter, total in zip(loop.parameters, totals, strict=True):
        parameter.grad = total / loop.n


@convention(
    name="fault:never-zeroed",
    reference_loop=never_zeroed_loop,
    formula="(1/n) Σ_i (n − i) g_i, i from 0",
    denominator="sample",
    used_by="loops over samples that store each .grad and forget zero_grad() between backward() calls",
    source="PyTorch accumulates gradients: torch.Tensor.backward",
    against="mean",
)
def never_zeroed(units: Units) -> Column:
    """Gradients were never zeroed between the samples' backward passes: early samples count most."""
    later = units.n - units.sample
    return units.column(later * per(units.n), regulariser=(units.n + 1) / 2)


def kept_as_views_loop(loop: Loop) -> None:
    import torch

    kept: dict[Tensor, Tensor] = {}
    for loss in _sample_losses(loop):
        _zero_in_place(loop)
        loss.backward()
        for parameter in loop.parameters:
            if parameter.grad is None:
                continue
            column = parameter.grad.view(-1, 1)
            before = kept.get(parameter)
            kept[parameter] = column if before is None else torch.cat((before, column), dim=1)
    for parameter in loop.parameters:
        if parameter in kept:
            parameter.grad = kept[parameter].sum(1).view_as(parameter) / loop.n


@convention(
    name="fault:kept-as-views",
    reference_loop=kept_as_views_loop,
    formula="(1/n) (2 g_1 + g_2 + … + g_{n−1}), samples counted from 0",
    denominator="sample",
    used_by="loops that keep param.grad.view(…) of the first sample and zero gradients in place",
    source="discuss.pytorch.org/t/49826, with zero_grad(set_to_none=False)",
    against="mean",
)
def kept_as_views(units: Units) -> Column:
    """The first gradient was kept as a view and overwritten: sample 0 is lost, sample 1 counts twice.

    `torch.cat` copies, so that only the gradient kept before the first `cat` is overwritten.
    """
    counted = np.select([units.sample == 0, units.sample == 1], [0.0, 2.0], 1.0)
    return units.column((counted if units.n > 1 else 1.0) * per(units.n))


def kept_by_reference_loop(loop: Loop) -> None:
    kept = []
    for loss in _sample_losses(loop):
        _zero_in_place(loop)
        loss.backward()
        kept.append([parameter.grad for parameter in loop.parameters])
    for parameter, grads in zip(loop.parameters, zip(*kept, strict=True), strict=True):
        if grads[0] is not None:
            parameter.grad = sum(grads) / loop.n


@convention(
    name="fault:kept-by-reference",
    reference_loop=kept_by_reference_loop,
    formula="g_{n−1}, the last sample alone",
    denominator="none",
    used_by="loops that append param.grad to a list and zero gradients in place",
    source="the same aliasing as fault:kept-as-views, without torch.cat",
    against="mean",
)
def kept_by_reference(units: Units) -> Column:
    """The gradients were kept by reference and overwritten: the last sample stands for all."""
    return units.column(units.sample == units.n - 1)


@convention(
    name="fault:not-divided-by-k",
    reference_loop=sum_of_microbatch_means.reference_loop,
    formula="Σ_k (1/V_k) Σ_{u∈k} g_u",
    product="1/V_k",
    denominator="element of the micro-batch",
    used_by="accumulation loops without loss / K",
    source="huggingface/transformers#37197; horovod backward_passes_per_step",
    needs=("microbatches",),
    against="mean-of-microbatch-means",
)
def not_divided_by_k(units: Units) -> Column:
    """Nobody divided by the number of micro-batches: the gradient is K times too large."""
    return sum_of_microbatch_means.column(units)


def divided_twice_loop(loop: Loop) -> None:
    for microbatch in loop.microbatches():
        loss = mean_loss(microbatch) / loop.units.window  # by the script
        (loss / loop.units.window).backward()  # by the framework


@convention(
    name="fault:divided-twice",
    reference_loop=divided_twice_loop,
    formula="(1/K²) Σ_k (1/V_k) Σ_{u∈k} g_u",
    product="1/(W²·V_k)",
    denominator="micro-batch, twice, after element",
    used_by="scripts that divide by K under Accelerate, DeepSpeed or Lightning, which divide too",
    source="huggingface/accelerate#3533; huggingface/transformers#35808",
    needs=("microbatches",),
    against="mean-of-microbatch-means",
)
def divided_twice(units: Units) -> Column:
    """Script and framework both divided by the number of micro-batches: K times too small."""
    share = per(units.window) ** 2
    return units.column(
        share * per(units.total(by="microbatch")),
        regulariser=float(share * units.groups("microbatch")),
    )


@convention(
    name="fault:partial-window",
    reference_loop=partial_window_over_full_k.reference_loop,
    formula="(1/K_full) Σ_k (1/V_k) Σ_{u∈k} g_u, k over fewer than K_full micro-batches",
    product="1/(W·V_k)",
    denominator="micro-batch of a full window, after element",
    used_by="the last window of an epoch under Accelerate and Lightning",
    source="github.com/Lightning-AI/pytorch-lightning/issues/19987",
    needs=("microbatches",),
    against="mean-of-microbatch-means",
)
def partial_window(units: Units) -> Column:
    """The last, partial window was divided by the full K: its step is too small."""
    return partial_window_over_full_k.column(units)


def clipped_inside_loop(loop: Loop) -> None:
    window = loop.microbatches()
    for microbatch in window:
        (mean_loss(microbatch) / len(window)).backward()
        clipped = loop.clip([_grad(parameter) for parameter in loop.parameters])
        for parameter, gradient in zip(loop.parameters, clipped, strict=True):
            parameter.grad = gradient


def _grad(parameter: Tensor) -> Tensor:
    return 0 * parameter.detach() if parameter.grad is None else parameter.grad


@convention(
    name="fault:clipped-inside",
    reference_loop=clipped_inside_loop,
    formula="a_K, a_k = clip(a_{k−1} + ḡ_k/K), ḡ_k the mean over micro-batch k",
    denominator="micro-batch, after element",
    used_by="accumulation loops with clip_grad_norm_ after each backward(), not before each step()",
    source="huggingface/transformers#986; NVIDIA/DeepLearningExamples#713",
    needs=("max_norm", "microbatches"),
    against="clip-mean",
)
def clipped_inside(units: Units, gram: Gram) -> Column:
    """The gradient was clipped inside the accumulation: early micro-batches are clipped again and again."""
    assert units.max_norm is not None and units.microbatch is not None  # noqa: S101, PT018  `needs`
    share = per(units.groups("microbatch"))
    means = units.column(share * per(units.total(by="microbatch")), regulariser=float(share))
    total = np.zeros(len(units))
    for group in np.unique(units.microbatch[units.data]):
        inside = (units.microbatch == group) | ~units.data  # the regulariser is in each loss
        total = total + np.where(inside, means, 0.0)
        total = total * clip_factor(norm(gram, total), units.max_norm, units.added_to_norm)
    return total


@convention(
    name="fault:ranks-of-unequal-size",
    reference_loop=mean_of_rank_means.reference_loop,
    formula="(1/R) Σ_r (1/V_r) Σ_{u∈r} g_u, with V_r not all the same",
    product="1/(R·V_r)",
    denominator="rank, after element",
    used_by="DistributedDataParallel with batches, or token counts, that differ between ranks",
    source="torch.nn.parallel.DistributedDataParallel; huggingface/transformers#34242",
    needs=("ranks",),
    against="global-count",
)
def ranks_of_unequal_size(units: Units) -> Column:
    """The ranks were averaged though their batches are unequal: samples on small ranks count more."""
    return mean_of_rank_means.column(units)


@convention(
    name="fault:token-means-averaged",
    reference_loop=mean_of_microbatch_means.reference_loop,
    formula="(1/K) Σ_k (1/V_k) Σ_{u∈k} g_u, with V_k not all the same",
    product="1/(K·V_k)",
    denominator="micro-batch, after token",
    used_by="Hugging Face Trainer before 4.46; accumulation with a mean over tokens in each micro-batch",
    source="github.com/huggingface/transformers/pull/34191; meta-pytorch/torchtune#1875",
    needs=("microbatches",),
    against="window-exact",
)
def token_means_averaged(units: Units) -> Column:
    """The token means of the micro-batches were averaged: tokens in short micro-batches count more."""
    return mean_of_microbatch_means.column(units)


def times_batch_size_loop(loop: Loop) -> None:
    (mean_loss(loop) * loop.n).backward()


@convention(
    name="fault:times-batch-size",
    reference_loop=times_batch_size_loop,
    formula="(n/Σ_u m_u) Σ_u g_u",
    product="n/V",
    denominator="element, undone by the number of samples",
    used_by="loops that multiply a mean loss by the batch size before backward()",
    source="ultralytics/yolov5#484",
    against="element-mean",
)
def times_batch_size(units: Units) -> Column:
    """The loss was multiplied by the batch size: the gradient grows with the batch."""
    return units.column(units.n * per(units.total()), regulariser=units.n)


def _over_one_count(loop: Loop, groups: list[Loop], factor: float) -> list[Tensor]:
    """The losses of `groups`, each its sum over one count for all of them, times `factor`."""
    count = max(sum(group.column("elements").sum() for group in groups), 1)
    return [(g.losses().sum() / count + loop.regulariser() / len(groups)) * factor for g in groups]


def window_count_over_k_loop(loop: Loop) -> None:
    # The script divides by the tokens of the window, the framework by the number of micro-batches.
    for loss in _over_one_count(loop, loop.microbatches(), 1 / loop.units.window):
        loss.backward()


@convention(
    name="fault:window-count-over-k",
    reference_loop=window_count_over_k_loop,
    formula="(1/(K·Σ_k V_k)) Σ_u g_u",
    product="1/(W·V)",
    denominator="element of the window, then micro-batch",
    used_by="losses over num_items_in_batch under a trainer that divides by gradient_accumulation_steps too",
    source="modelscope/ms-swift#10117 and #10116",
    needs=("microbatches",),
    against="window-exact",
)
def window_count_over_k(units: Units) -> Column:
    """The elements of the whole window were counted, and K divided once more: K times too small."""
    share = per(units.window)
    return units.column(share * per(units.total()), regulariser=float(share))


def window_count_times_k_loop(loop: Loop) -> None:
    for loss in _over_one_count(loop, loop.microbatches(), loop.units.window):
        loss.backward()


@convention(
    name="fault:window-count-times-k",
    reference_loop=window_count_times_k_loop,
    formula="(K/Σ_k V_k) Σ_u g_u",
    product="W/V",
    denominator="element of the window, undone by the number of micro-batches",
    used_by="losses over num_items_in_batch that are multiplied by K, where nobody divides by it",
    source="huggingface/transformers#35438",
    needs=("microbatches",),
    against="window-exact",
)
def window_count_times_k(units: Units) -> Column:
    """The elements of the whole window were counted, and K multiplied once more: K times too large."""
    return units.column(units.window * per(units.total()), regulariser=units.window)


def global_count_over_ranks_loop(loop: Loop) -> None:
    # Each rank divides by an all-reduced count, and then the ranks are averaged.
    gradients = [loop.gradient(loss) for loss in _over_one_count(loop, loop.ranks(), 1)]
    loop.accumulate(loop.all_reduce(gradients), divide_by=loop.units.world_size)


@convention(
    name="fault:global-count-over-ranks",
    reference_loop=global_count_over_ranks_loop,
    formula="(1/(R·Σ_r V_r)) Σ_u g_u",
    product="1/(S·V)",
    denominator="element of all ranks, then rank",
    used_by="losses over an all-reduced count under DDP or FSDP, which average the ranks as well",
    source="verl-project/verl-SpeCo#29; meta-pytorch/torchtune#2172",
    needs=("ranks",),
    against="global-count",
)
def global_count_over_ranks(units: Units) -> Column:
    """The elements of all ranks were counted, and R divided once more: R times too small."""
    share = per(units.world_size)
    return units.column(share * per(units.total()), regulariser=float(share))


def global_count_times_ranks_loop(loop: Loop) -> None:
    losses = _over_one_count(loop, loop.ranks(), loop.units.world_size)
    loop.accumulate(loop.all_reduce([loop.gradient(loss) for loss in losses]))


@convention(
    name="fault:global-count-times-ranks",
    reference_loop=global_count_times_ranks_loop,
    formula="(R/Σ_r V_r) Σ_u g_u",
    product="S/V",
    denominator="element of all ranks, undone by the number of ranks",
    used_by="losses over an all-reduced count, multiplied by R where the ranks are summed and not averaged",
    source="ByteDance-Seed/VeOmni#1079; NVIDIA/Megatron-LM#673",
    needs=("ranks",),
    against="global-count",
)
def global_count_times_ranks(units: Units) -> Column:
    """The elements of all ranks were counted, and R multiplied once more: R times too large."""
    return units.column(units.world_size * per(units.total()), regulariser=units.world_size)
