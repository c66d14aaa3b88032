"""TRL, verl, OpenRLHF and Megatron-Core, run on two ranks with two micro-batches of uneven sequences."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.conventions.agreement import ROUNDING, by_convention, distance, left_in, network, randn
from tests.frameworks.alone import package_or_skip, without_its_imports
from tests.frameworks.sequences import (
    CELLS,
    INPUTS,
    MICROBATCH,
    PRESENT,
    RANK,
    averaged_over_ranks,
    expected,
    log_probabilities,
)
from tests.frameworks.trl_trainers import dpo_backward, grpo_loss, rloo_backward, sft_loss


@pytest.mark.parametrize(
    "word",
    [
        *("trl:grpo", "trl:sapo", "trl:bnpo", "trl:dr_grpo", "trl:dapo", "trl:cispo", "trl:vespo"),
        "trl:luspo",
    ],
)
def test_trl_reduces_as_its_loss_type_says(word: str) -> None:
    def loss_of_cell(model: nn.Module, rows: np.ndarray) -> Tensor:
        return grpo_loss(
            model,
            log_probabilities(model, INPUTS[rows]),
            PRESENT[rows],
            word.partition(":")[2],
            PRESENT.sum(),
            level="sequence" if word == "trl:luspo" else "token",
            processes=2,
            longest=9,
        )

    assert distance(averaged_over_ranks(loss_of_cell), expected(word)) < ROUNDING


def test_trl_averages_rloo_over_sequences_and_the_trainer_over_micro_batches() -> None:
    gradients = []
    for microbatches in CELLS:
        model = network()
        for rows in microbatches:
            found = log_probabilities(model, INPUTS[rows])
            rloo_backward(model, found, PRESENT[rows], accumulation=len(microbatches))
        gradients.append(left_in(model))
    assert distance(torch.stack(gradients).mean(0), expected("trl:rloo")) < ROUNDING


@pytest.mark.parametrize(
    "word",
    [
        "verl:token-mean",
        "verl:token-sum",
        "verl:seq-mean-token-sum",
        "verl:seq-mean-token-mean",
        "verl:seq-mean-token-sum-norm",
    ],
)
def test_verl_reduces_as_its_loss_agg_mode_says(word: str) -> None:
    masked_sum = without_its_imports("verl", "utils/torch_functional.py", "masked_sum")
    agg_loss = without_its_imports(
        "verl", "trainer/ppo/core_algos.py", "agg_loss", verl_F=SimpleNamespace(masked_sum=masked_sum)
    )

    def loss_of_cell(model: nn.Module, rows: np.ndarray) -> Tensor:
        return agg_loss(
            -log_probabilities(model, INPUTS[rows]),
            PRESENT[rows],
            word.partition(":")[2],
            dp_size=2,
            batch_num_tokens=int(PRESENT.sum()),
            global_batch_size=len(PRESENT),
            loss_scale_factor=9,
        )

    # A token mean adds 1e-8 to lengths.
    assert distance(averaged_over_ranks(loss_of_cell), expected(word)) < 2e-8


@pytest.mark.parametrize(("word", "by_token"), [("openrlhf:token", True), ("openrlhf:sequence", False)])
def test_openrlhf_divides_by_the_counts_of_all_ranks(word: str, by_token: bool) -> None:
    aggregate_loss = without_its_imports("openrlhf", "models/loss.py", "aggregate_loss")

    def loss_of_cell(model: nn.Module, rows: np.ndarray) -> Tensor:
        return aggregate_loss(
            -log_probabilities(model, INPUTS[rows]),
            PRESENT[rows],
            token_level_loss=by_token,
            dp_size=2,
            batch_num_tokens=float(PRESENT.sum()),
            global_batch_size=float(len(PRESENT)),
        )

    # A token mean adds 1e-8 to lengths.
    assert distance(averaged_over_ranks(loss_of_cell), expected(word)) < 2e-8


def test_trl_divides_supervised_losses_by_the_tokens_of_all_ranks() -> None:
    def loss_of_cell(model: nn.Module, rows: np.ndarray) -> Tensor:
        found = log_probabilities(model, INPUTS[rows]) * PRESENT[rows]
        return sft_loss(model, found, PRESENT[rows], PRESENT.sum())

    assert distance(averaged_over_ranks(loss_of_cell), expected("trl:sft")) < ROUNDING


def test_trl_averages_pairs_of_preferences_and_the_trainer_micro_batches() -> None:
    others = randn(*INPUTS.shape, seed=3)
    gradients = []
    for microbatches in CELLS:
        model = network()
        for rows in microbatches:
            sides = [log_probabilities(model, x[rows]) * PRESENT[rows] for x in (INPUTS, others)]
            dpo_backward(model, torch.cat(sides), torch.cat([PRESENT[rows]] * 2), accumulation=2)
        gradients.append(left_in(model))

    def pairs(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        chosen, rejected = ((log_probabilities(model, x) * batch[2]).sum(1) for x in batch[:2])
        margin = (chosen - chosen.detach()) - (rejected - rejected.detach())
        return -(0.1 * margin).sigmoid().log()

    columns = {"rank": RANK, "microbatch": MICROBATCH}
    said = by_convention(
        "trl:dpo", network(), (INPUTS, others, PRESENT), pairs, columns, window=2, world_size=2
    )
    assert distance(torch.stack(gradients).mean(0), said) < ROUNDING


def megatron_loss(model: nn.Module, rows: np.ndarray, *, per_token: bool) -> tuple[Tensor, Tensor]:
    """The loss of a micro-batch that Megatron calls backward() on, and its tokens."""
    schedules = package_or_skip("megatron.core.pipeline_parallel.schedules")

    def loss_func(outputs: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        mask = PRESENT[rows]
        return -(outputs * mask).sum(), mask.sum().int(), {}

    return schedules.forward_step_calc_loss(
        model,
        log_probabilities(model, INPUTS[rows]),
        loss_func,
        SimpleNamespace(calculate_per_token_loss=per_token, timers=None),
        vp_stage=None,
        collect_non_loss_data=False,
        num_microbatches=2,
        forward_data_store=[],
        cp_group_size=1,
        is_last_stage=True,
    )


@pytest.mark.filterwarnings("ignore")  # of what a GPU would bring
def test_megatron_averages_the_means_of_micro_batches() -> None:
    def loss_of_cell(model: nn.Module, rows: np.ndarray) -> Tensor:
        return megatron_loss(model, rows, per_token=False)[0]

    assert distance(averaged_over_ranks(loss_of_cell), expected("megatron:mean-of-means")) < ROUNDING


@pytest.mark.filterwarnings("ignore")  # of what a GPU would bring
def test_megatron_divides_the_sum_over_ranks_by_all_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    finalize = package_or_skip("megatron.core.distributed.finalize_model_grads")
    models, tokens = [network(), network()], [torch.tensor(0), torch.tensor(0)]
    for rank, microbatches in enumerate(CELLS):
        for rows in microbatches:
            loss, count = megatron_loss(models[rank], rows, per_token=True)
            loss.backward()
            tokens[rank] += count
    model, other = models

    def summed() -> None:  # with calculate_per_token_loss its gradient_scaling_factor is 1
        for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
            mine.grad += theirs.grad

    def scale_gradients(factor: Tensor) -> None:
        for parameter in model.parameters():
            parameter.grad *= factor

    groups = dict.fromkeys(("tp", "pp", "embd", "pos_embd", "dp_cp"))
    config = SimpleNamespace(timers=None, moe_router_enable_expert_bias=False)
    monkeypatch.setattr(finalize, "get_model_config", lambda _: config)
    monkeypatch.setattr(finalize, "get_pp_last_rank", lambda _: 0)
    for name in [name for name in vars(finalize) if name.startswith("_allreduce_")]:
        monkeypatch.setattr(finalize, name, lambda *_: None)  # of other kinds of parallelism
    monkeypatch.setattr(finalize, "reset_model_temporary_tensors", lambda *_: None)
    monkeypatch.setattr(torch.distributed, "broadcast", lambda *_, **__: None)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda count, **_: count.add_(tokens[1]))
    chunk = SimpleNamespace(finish_grad_sync=lambda **_: summed(), scale_gradients=scale_gradients)
    finalize.finalize_model_grads([chunk], tokens[0], SimpleNamespace(**groups))
    assert (
        distance(left_in(model), expected("megatron:calculate_per_token_loss")) < 1e-7
    )  # 1/count is float32


@pytest.mark.filterwarnings("ignore")  # of what a GPU would bring
@pytest.mark.parametrize("word", ["megatron:average_in_collective", "megatron:mean-of-means"])
def test_megatron_averages_ranks_in_the_collective_or_before_it(
    word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = package_or_skip("megatron.core.distributed.param_and_grad_buffer")
    inside = word == "megatron:average_in_collective"
    settings = SimpleNamespace(
        check_for_nan_in_grad=False, check_for_large_grads=False, average_in_collective=inside,
        overlap_grad_reduce=False, num_distributed_optimizer_instances=1, use_distributed_optimizer=False,
    )  # fmt: skip
    sent: list[Tensor] = []

    def all_reduce(buffer: Tensor, *, op: object, **_: object) -> None:
        sent.append(buffer / 2 if op == torch.distributed.ReduceOp.AVG else buffer)

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(module, "_coalescing_manager", lambda *_, **__: nullcontext())
    for microbatches in CELLS:
        model = network()
        for rows in microbatches:
            megatron_loss(model, rows, per_token=False)[0].backward()
        # DistributedDataParallel scales by the ranks only where the collective does not average.
        bucket = SimpleNamespace(grad_data=left_in(model), gradient_scaling_factor=1.0 if inside else 0.5)
        group = SimpleNamespace(
            is_first_batch=False, grad_reduce_handle=None, ddp_config=settings, buckets=[bucket],
            data_parallel_group=None,
        )  # fmt: skip
        module._ParamAndGradBucketGroup.start_grad_sync(group)
    assert distance(sent[0] + sent[1], expected(word)) < ROUNDING
