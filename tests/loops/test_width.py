"""How many values of a sample its loss is seen to be a sum over."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from suite.case import cases
from suite.loops.width import values_per_sample
from suite.running.plan import cells

X, Y, LABELS = torch.randn(6, 4), torch.randn(6, 5), torch.randint(0, 5, (6,))


def width(losses, *batch: torch.Tensor, model: nn.Module | None = None) -> int:
    return values_per_sample(model or nn.Linear(4, 5), batch or (X, Y), losses)


@pytest.mark.parametrize(
    "losses",
    [
        lambda m, b: F.mse_loss(m(b[0]), b[1], reduction="none").sum(1),
        lambda m, b: 0.5 * F.mse_loss(m(b[0]), b[1], reduction="none").flatten(1).sum(-1),
        lambda m, b: ((m(b[0]) - b[1]) ** 2).sum(dim=-1, keepdim=True).squeeze(1) / 3,
        lambda m, b: torch.stack([((m(row[None]) - y) ** 2).sum() for row, y in zip(*b, strict=True)]),
        lambda m, b: -(b[1] * m(b[0]).log_softmax(1)).sum(1),
        lambda m, b: torch.stack([(m(b[0]) - b[1]).abs().sum(1), m(b[0]).square().mean(1)], 1),
    ],
)
def test_a_sum_over_outputs_is_seen(losses) -> None:
    assert width(losses) == 5


def test_targets_as_wide_as_the_output_are_seen() -> None:
    assert width(lambda m, b: F.cross_entropy(m(b[0]), b[1].softmax(1), reduction="none")) == 5
    assert width(lambda m, b: torch.linalg.vector_norm(m(b[0]) - b[1], dim=1)) == 5


def test_one_value_a_sample_is_one() -> None:
    assert width(lambda m, b: F.cross_entropy(m(b[0]), b[1], reduction="none"), X, LABELS) == 1
    one = nn.Linear(4, 1)
    assert width(lambda m, b: F.mse_loss(m(b[0]), b[1], reduction="none").sum(1), X, Y[:, :1], model=one) == 1
    assert width(lambda m, b: (m(b[0]).squeeze(1) - b[1]).square(), X, Y[:, 0], model=one) == 1


def test_a_sum_inside_the_model_is_none_of_the_loss() -> None:
    class Score(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x).sum(1)

    assert width(lambda m, b: -m(b[0]), X, model=Score()) == 1


def test_inputs_as_wide_as_the_output_are_no_targets() -> None:
    square = nn.Linear(4, 4)
    assert (
        width(lambda m, b: F.cross_entropy(m(b[0]), b[1], reduction="none"), X, LABELS % 4, model=square) == 1
    )


def test_losses_that_fail_are_left_to_whoever_measures() -> None:
    assert width(lambda m, b: 1 / 0) == 1
    assert width(lambda m, b: 1.0) == 1


def test_the_random_state_and_the_hooks_of_the_model_stay() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.Dropout())
    before = torch.random.get_rng_state()
    width(lambda m, b: F.mse_loss(m(b[0]), b[1], reduction="none").sum(1), model=model)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not model._forward_hooks


@pytest.mark.parametrize("name", cases.names)
def test_built_in_cases_state_their_elements_or_have_one_value_a_sample(name: str) -> None:
    problem = cases[name].build()
    batch = cells(problem, (2,), seed=0)[0].take(problem, torch.device("cpu"), torch.float32)
    stated = problem.columns is not None and "elements" in problem.columns(batch)
    assert stated or values_per_sample(problem.model(), batch, problem.losses) == 1
