"""Data-parallel ranks: what the all-reduce sums, and what it divides by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.algebra.units import per
from suite.conventions.accumulation import mean_loss
from suite.conventions.convention import convention

if TYPE_CHECKING:
    from suite.algebra.units import Column, Units
    from suite.loops.loop import Gradient, Loop


def _rank_gradients(loop: Loop) -> list[Gradient]:
    return [rank.gradient(mean_loss(rank)) for rank in loop.ranks()]


def mean_of_rank_means_loop(loop: Loop) -> None:
    gradients = _rank_gradients(loop)
    loop.accumulate(loop.all_reduce(gradients), divide_by=len(gradients))


@convention(
    reference_loop=mean_of_rank_means_loop,
    formula="(1/R) Σ_r (1/V_r) Σ_{u∈r} g_u, V_r the elements of rank r",
    product="1/(R·V_r)",
    denominator="rank, after element",
    used_by="PyTorch DistributedDataParallel and FSDP; Horovod op=Average; DeepSpeed (its default)",
    source="torch/nn/parallel/distributed.py; horovod/torch/optimizer.py; deepspeed/runtime/engine.py",
    needs=("ranks",),
    against="global-count",
)
def mean_of_rank_means(units: Units) -> Column:
    """Each rank's mean, then the mean over the ranks that have data."""
    return units.column(per(units.groups("rank")) * per(units.total(by="rank")))


def sum_of_rank_means_loop(loop: Loop) -> None:
    loop.accumulate(loop.all_reduce(_rank_gradients(loop)))


@convention(
    reference_loop=sum_of_rank_means_loop,
    formula="Σ_r (1/V_r) Σ_{u∈r} g_u",
    product="1/V_r",
    denominator="element of the rank",
    used_by="Horovod op=Sum; DeepSpeed gradient_allreduce_op='sum'",
    source="horovod/torch/optimizer.py; deepspeed/runtime/engine.py, allreduce_bucket (read, not run)",
    needs=("ranks",),
    against="mean-of-rank-means",
)
def sum_of_rank_means(units: Units) -> Column:
    """Each rank's mean, summed over ranks. The regulariser is counted R times too."""
    return units.column(per(units.total(by="rank")), regulariser=units.groups("rank"))


def global_count_loop(loop: Loop) -> None:
    ranks = loop.ranks()
    count = sum(rank.column("elements").sum() for rank in ranks)
    gradients = [
        rank.gradient(rank.losses().sum() / max(count, 1) + rank.regulariser() / len(ranks)) for rank in ranks
    ]
    loop.accumulate(loop.all_reduce(gradients))


@convention(
    reference_loop=global_count_loop,
    formula="(1/Σ_r V_r) Σ_u g_u",
    product="1/V",
    denominator="element of all ranks",
    used_by="fairseq; torchtune; Megatron-Core calculate_per_token_loss; Hugging Face Trainer",
    source="fairseq/trainer.py; megatron finalize_model_grads.py; transformers average_tokens_across_devices",
    needs=("ranks",),
)
def global_count(units: Units) -> Column:
    """Rank sums over one count for all ranks: the batch that was not split."""
    return units.column(per(units.total()))


def joined_ranks_over_world_size_loop(loop: Loop) -> None:
    loop.accumulate(loop.all_reduce(_rank_gradients(loop)), divide_by=loop.units.world_size)


@convention(
    reference_loop=joined_ranks_over_world_size_loop,
    formula="(1/R_initial) Σ_{r with data} (1/V_r) Σ_{u∈r} g_u",
    product="1/(S·V_r)",
    denominator="rank that training began with, after element",
    used_by="PyTorch DDP Join, divide_by_initial_world_size=True (its default)",
    source="torch/nn/parallel/distributed.py, DistributedDataParallel.join",
    needs=("ranks",),
    against="mean-of-rank-means",
)
def joined_ranks_over_world_size(units: Units) -> Column:
    """Rank means divided by the initial world size though some ranks have run out of data."""
    share = per(units.world_size)
    return units.column(share * per(units.total(by="rank")), regulariser=float(share * units.groups("rank")))
