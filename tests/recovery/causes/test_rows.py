"""Clipping to a share of a parameter's own norm, row by row, and what looks like it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.recovery import recover

Change = Callable[[nn.Parameter], None]


def found(change: Change) -> str:
    """What is said of the mean whose gradient is changed, parameter by parameter."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 4)).double()
    batch = torch.randn(8, 6).double(), torch.randint(4, (8,))

    def losses(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1], reduction="none")

    def step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
        losses(model, batch).mean().backward()
        for parameter in model.parameters():
            change(parameter)

    return str(recover(step, model, batch, losses))


def signs(parameter: nn.Parameter) -> None:
    assert parameter.grad is not None
    parameter.grad.sign_()


def trust_ratio(parameter: nn.Parameter) -> None:
    assert parameter.grad is not None
    parameter.grad.mul_(0.001 * parameter.detach().norm() / parameter.grad.norm())


def rows_alone(parameter: nn.Parameter) -> None:
    """A factor that is no threshold, for each row."""
    assert parameter.grad is not None
    if parameter.ndim > 1:
        parameter.grad.mul_(torch.linspace(0.2, 1, len(parameter), dtype=torch.float64)[:, None])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (signs, "signs alone: all entries are ±1: of the gradient of mean only the signs are left"),
        (trust_ratio, "4 of 4 tensors are held at 0.001 × the norm of their own parameters"),
        (rows_alone, "a factor for each row: each row of a tensor has a factor of its own against mean: 0.2"),
    ],
)
def test_what_was_done_to_parts_of_the_gradient_is_told(change: Change, said: str) -> None:
    text = found(change)
    assert said in text
    assert "clipped by norm" not in text


def test_a_gradient_that_was_left_alone_has_no_rows() -> None:
    assert "row" not in found(lambda parameter: None)
