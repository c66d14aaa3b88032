"""Losses that couple samples, steps that do, and steps that minimise something else are told apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from suite.algebra.units import Units
from suite.recovery import recover
from suite.recovery.losses import even
from tests.recovery.steps import losses, mean, setting

N = 8


def embedder() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 20), nn.Tanh(), nn.Linear(20, 6)).double()
    x = torch.randn(N, 10, dtype=torch.float64)
    return model, (x + 0.1 * torch.randn_like(x), x + 0.1 * torch.randn_like(x))


def contrastive(model, batch):
    """NT-Xent over both views."""
    a, b = (F.normalize(model(view), dim=1) for view in batch)
    n, z = len(a), torch.cat([a, b])
    near = (z @ z.T / 0.5).masked_fill(torch.eye(2 * n, dtype=torch.bool), -torch.inf)
    entries = F.cross_entropy(near, torch.arange(2 * n).roll(n), reduction="none")
    return (entries[:n] + entries[n:]) / 2


def paired(model, batch):
    """CLIP's loss: both ways over the pairs of the batch."""
    near = F.normalize(model(batch[0]), dim=1) @ F.normalize(model(batch[1]), dim=1).T / 0.1
    own = torch.arange(len(near))
    return (F.cross_entropy(near, own, reduction="none") + F.cross_entropy(near.T, own, reduction="none")) / 2


def hardest(model, batch):
    """Triplets with the farthest positive and the nearest negative of the batch."""
    z, kind = model(batch[0]), torch.arange(len(batch[0])) % 2
    far = (z[:, None] - z[None]).square().sum(2)
    same = kind[:, None] == kind[None]
    positive = far.masked_fill(~same, -1).amax(1)
    return F.softplus(positive - far.masked_fill(same, 1e9).amin(1))


COUPLED = pytest.mark.parametrize("coupled", [contrastive, paired, hardest])


@COUPLED
@pytest.mark.parametrize("stated", [True, False])
def test_a_coupled_loss_taken_in_pieces_is_a_weighting_of_the_pieces(coupled, stated) -> None:
    def step(model, batch) -> None:
        for start in range(0, N, 4):
            (coupled(model, tuple(view[start : start + 4] for view in batch)).mean() / 2).backward()

    units = Units.of(N, {"microbatch": np.repeat([0, 1], 4)}, window=2) if stated else None
    found = recover(step, *embedder(), coupled, units=units)
    assert not found.linear
    assert found.cause.name == "coupled losses"
    assert "pieces of 4" in found.cause.says
    assert (found.cause.convention, found.cause.scale) == ("mean", 1.0)
    told = ~np.isnan(found.cause.weights)  # none of triplets: two of a pair have one gradient
    assert told.any() or coupled is hardest
    np.testing.assert_allclose(found.cause.weights[told], 1 / N, rtol=1e-8)


@COUPLED
def test_a_coupled_loss_of_the_whole_batch_is_a_plain_weighting(coupled) -> None:
    found = recover(lambda m, b: coupled(m, b).mean().backward(), *embedder(), coupled)
    assert (found.linear, found.convention.name, found.scale) == (True, "mean", 1.0)


def test_pieces_with_a_remainder_are_found() -> None:
    def step(model, batch) -> None:
        for start in range(0, N, 3):
            paired(model, tuple(view[start : start + 3] for view in batch)).sum().backward()

    found = recover(step, *embedder(), paired)
    assert (found.cause.name, found.cause.convention) == ("coupled losses", "sum")
    assert "pieces of 2 or 3" in found.cause.says


def test_coupled_losses_that_are_taken_in_no_pieces_are_told_without_weights() -> None:
    def step(model, batch) -> None:
        paired(model, batch).mean().backward()
        model[0].weight.grad.flatten()[::2] *= 2

    found = recover(step, *embedder(), paired)
    assert found.cause.name == "coupled losses"
    assert found.cause.weights is None
    assert "would tell" in found.cause.says


@pytest.mark.parametrize("change", ["normalised", "masked", "mixed"])
def test_a_batch_that_the_step_changes_in_place_explains_it(change) -> None:
    def step(model, batch) -> None:
        x = batch[0]
        if change == "normalised":
            x.sub_(x.mean(0)).div_(x.std(0))
        elif change == "masked":
            x[torch.rand(x.shape) < 0.3] = 0
        else:
            x.mul_(0.7).add_(0.3 * x.flip(0).clone())
        mean(model, batch)

    given = setting()
    before = given.batch[0].clone()
    found = recover(step, given.model, given.batch, losses)
    assert (found.cause.name, found.cause.convention, found.cause.scale) == ("changed inputs", "mean", 1.0)
    assert found.restored == ("the batch",)
    assert torch.equal(given.batch[0], before)


def test_even_pieces_are_not_tried_without_end() -> None:
    assert len(even(1000)) == 8
