from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from suite.equivalence.per_step_rates import per_step_rates
from suite.equivalence.trajectory import Backward
from tests.equivalence.problems import network

SIZES = [8, 8, 8, 2] * 5  # epochs with a short last batch
SUM_OVER_MEAN = [float(n) for n in SIZES]


def batches(*, mean: bool) -> Backward:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(len(SIZES), 8, 3, generator=generator, dtype=torch.float64)
    targets = torch.randn(len(SIZES), 8, 2, generator=generator, dtype=torch.float64)

    def backward(model: nn.Module, step: int) -> Tensor:
        n = SIZES[step]
        errors = (model(inputs[step, :n]) - targets[step, :n]).square().sum(1)
        loss: Tensor = errors.mean() if mean else errors.sum()
        loss.backward()
        return loss.detach()

    return backward


def sides() -> tuple[Backward, Backward]:
    return batches(mean=True), batches(mean=False)


def test_the_rate_of_each_step_is_exact_for_plain_sgd_and_no_constant_is():
    result = per_step_rates(network(0), *sides(), "SGD", {"lr": 0.1, "weight_decay": 0.01}, SUM_OVER_MEAN)
    assert result.per_step == result.rescaled == 0.0
    assert result.constant > 1e-2
    assert 2 <= result.constant_scale <= 8


@pytest.mark.parametrize(
    ("optimizer", "hyperparameters"),
    [
        ("SGD", {"lr": 0.05, "momentum": 0.9}),
        ("Adam", {"lr": 0.02, "eps": 1e-3}),
        ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.5}),
        ("RAdam", {"lr": 0.02}),
        ("ASGD", {"lr": 0.05}),
    ],
)
def test_an_optimizer_with_memory_needs_its_state_rescaled_each_step(optimizer, hyperparameters):
    result = per_step_rates(network(0), *sides(), optimizer, hyperparameters, SUM_OVER_MEAN)
    assert result.rescaled == 0.0
    assert result.constant > 1e-3
    assert result.per_step > 1e-3


def test_the_best_constant_is_the_scale_itself_where_it_does_not_vary():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    targets = torch.randn(5, 2, generator=generator, dtype=torch.float64)

    def scaled(scale: float) -> Backward:
        def backward(model: nn.Module, step: int) -> Tensor:
            loss: Tensor = scale * (model(inputs) - targets).square().sum()
            loss.backward()
            return loss.detach()

        return backward

    result = per_step_rates(network(0), scaled(1), scaled(4), "SGD", {"lr": 0.01}, [4.0] * 10)
    assert (result.constant_scale, result.constant, result.per_step) == (4.0, 0.0, 0.0)
