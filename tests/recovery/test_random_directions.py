"""Random directions tell units apart where no few parameters do and all gradients do not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from suite.errors import CaseError
from suite.recovery import random_directions, recover, without_matrix
from suite.recovery.unit_gradients import SQUARE_MATRICES


@pytest.fixture(autouse=True)
def _always(monkeypatch) -> None:
    monkeypatch.setattr(without_matrix, "FORMED", 0)


class Segmenter(nn.Module):
    """A U-Net whose last layer is behind a norm over pixels, with fewer parameters than there are pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.low = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.up, self.mix = nn.ConvTranspose2d(8, 6, 2, stride=2), nn.Conv2d(12, 6, 3, padding=1)
        self.norm, self.head = nn.GroupNorm(2, 6), nn.Conv2d(6, 4, 1)

    def forward(self, x):
        high = F.silu(self.down(x))
        mixed = self.mix(torch.cat([high, self.up(F.silu(self.low(high)))], 1))
        return self.head(F.silu(self.norm(mixed)))


class Messages(nn.Module):
    """A graph network whose last layer is followed by a round of messages."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 24), nn.Linear(24, 5)
        edges = (torch.rand(20, 20) < 0.2).float() + torch.eye(20)
        self.register_buffer("edges", edges / edges.sum(1, keepdim=True))

    def forward(self, x):
        return self.edges @ self.second(torch.relu(self.edges @ self.first(x)))


def classes(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1], reduction="none").flatten(1 if batch[1].ndim > 1 else 0)


PROBLEMS = {
    "pixels of a U-Net": (Segmenter, lambda: (torch.randn(2, 2, 6, 6), torch.randint(4, (2, 6, 6)))),
    "nodes before a last message": (Messages, lambda: (torch.randn(20, 6), torch.randint(5, (20,)))),
}


def made(name: str, dtype: torch.dtype):
    torch.manual_seed(0)
    model, batch = (make() for make in PROBLEMS[name])
    inputs, targets = batch
    model, batch = model.to(dtype), (inputs.to(dtype), targets)
    return model, batch, classes(model, batch).numel()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", list(PROBLEMS))
def test_weights_come_back_where_only_random_directions_tell_them(name: str, dtype: torch.dtype) -> None:
    model, batch, count = made(name, dtype)
    column = np.random.default_rng(0).uniform(0.5, 2, count)

    def step(model, batch) -> None:
        entries = classes(model, batch)
        (torch.as_tensor(column).to(entries).view_as(entries) * entries).sum().backward()

    found = recover(step, model, batch, classes, memory=SQUARE_MATRICES * 8 * count**2)
    assert found.solved_on == ("random directions",)
    assert found.identifiable.all()
    assert (np.abs(found.weights - column) <= found.error).all()
    relative = 1e-4 if dtype is torch.float32 else 1e-11
    np.testing.assert_allclose(found.weights, column, rtol=relative)
    with_all = recover(step, model, batch, classes)
    assert with_all.solved_on == ()
    np.testing.assert_allclose(found.weights, with_all.weights, rtol=relative)


@pytest.mark.parametrize("why", ["too many", "differentiated once"])
def test_where_directions_are_not_to_be_had_all_gradients_are_asked_for(monkeypatch, why: str) -> None:
    model, batch, count = made("nodes before a last message", torch.float64)
    if why == "too many":
        monkeypatch.setattr(random_directions, "MOST_DIRECTIONS", count)

    def losses(model, batch):
        return Once.apply(classes(model, batch)) if why != "too many" else classes(model, batch)

    def step(model, batch) -> None:
        (losses(model, batch) * torch.arange(20.0).double()).sum().backward()

    with pytest.raises(CaseError, match="no few parameters prove weights of these 20 units"):
        recover(step, model, batch, losses, memory=SQUARE_MATRICES * 8 * count**2)


class Once(torch.autograd.Function):
    """Losses with a backward pass that cannot be differentiated."""

    @staticmethod
    def forward(ctx, entries):
        return entries.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return gradient
