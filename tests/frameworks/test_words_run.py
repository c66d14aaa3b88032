"""Reductions of TRL, verl and Megatron-Core, run: on two ranks, two micro-batches of uneven sequences."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.conventions.agreement import ROUNDING, by_convention, distance, left_in, network, randn
from tests.frameworks.alone import without_its_imports
from tests.frameworks.trl_trainers import grpo_loss, rloo_backward

LONGEST = 5
LENGTHS = torch.tensor([5, 1, 3, 2, 4, 2])
PRESENT = (torch.arange(LONGEST) < LENGTHS[:, None]).double()  # [sequences, positions]
RANK, MICROBATCH = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 0, 1, 1])
INPUTS = randn(len(LENGTHS), LONGEST, 4)
CELLS = [[(r == RANK) & (k == MICROBATCH) for k in range(2)] for r in range(2)]


def log_probabilities(model: nn.Module, inputs: Tensor) -> Tensor:
    """`[sequences, positions]`."""
    return model(inputs).log_softmax(-1)[..., 0]


def losses(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """`[sequences]` each sequence's loss, summed over its tokens."""
    return -(log_probabilities(model, batch[0]) * batch[1]).sum(1)


def expected(word: str) -> Tensor:
    columns = {"elements": LENGTHS, "positions": LONGEST, "rank": RANK, "microbatch": MICROBATCH}
    settings = {"window": 2, "world_size": 2, "max_elements": 9}
    return by_convention(word, network(), (INPUTS, PRESENT), losses, columns, **settings)


def averaged_over_ranks(loss_of_cell) -> Tensor:
    """What DistributedDataParallel leaves: `backward()` for each micro-batch, and the mean over ranks."""
    gradients = []
    for microbatches in CELLS:
        model = network()
        for rows in microbatches:
            loss_of_cell(model, rows).backward()
        gradients.append(left_in(model))
    return torch.stack(gradients).mean(0)


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


@pytest.mark.filterwarnings("ignore")  # of what a GPU would bring
def test_megatron_averages_the_means_of_micro_batches() -> None:
    schedules = pytest.importorskip(
        "megatron.core.pipeline_parallel.schedules",
        reason="Megatron-Core is not installed: the tox environment `frameworks` has it",
    )

    def loss_of_cell(model: nn.Module, rows: np.ndarray) -> Tensor:
        def loss_func(outputs):
            mask = PRESENT[rows]
            return -(outputs * mask).sum(), mask.sum().int(), {}

        loss, _ = schedules.forward_step_calc_loss(
            model,
            log_probabilities(model, INPUTS[rows]),
            loss_func,
            SimpleNamespace(calculate_per_token_loss=False, timers=None),
            vp_stage=None,
            collect_non_loss_data=False,
            num_microbatches=2,
            forward_data_store=[],
            cp_group_size=1,
            is_last_stage=True,
        )
        return loss

    assert distance(averaged_over_ranks(loss_of_cell), expected("megatron:mean-of-means")) < ROUNDING
