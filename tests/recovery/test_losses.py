"""Losses that draw random numbers are read with those of the step, so that the answer is exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from suite.algebra.units import Units
from suite.errors import UsageError
from suite.recovery import recover
from suite.recovery.losses import even, in_turn
from tests.recovery.steps import losses, mean, setting

N = 6


class Noisy(nn.Module):
    """A variational autoencoder: it draws in its forward pass, in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.mu, self.log, self.decode = (
            nn.Linear(a, b) for a, b in ((10, 16), (16, 3), (16, 3), (3, 10))
        )

    def forward(self, x):
        hidden = torch.tanh(self.encode(x))
        mu, log = self.mu(hidden), self.log(hidden)
        return self.decode(mu + torch.randn_like(mu) * (log / 2).exp()), mu, log


def terms(model, x):
    back, mu, log = model(x)
    return F.mse_loss(back, x, reduction="none"), -0.5 * (1 + log - mu**2 - log.exp())


def both(model, x):
    return torch.stack([term.sum(1) for term in terms(model, x)], 1)


def vae() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return Noisy().double(), torch.randn(N, 10, dtype=torch.float64)


def test_a_vae_is_answered_exactly() -> None:
    def step(model, x):
        error, divergence = terms(model, x)
        (error.mean() + divergence.sum() / (10 * N)).backward()

    found = recover(step, *vae(), both)
    assert found.linear
    assert found.drawn
    np.testing.assert_allclose(found.weights, 1 / (10 * N), rtol=1e-9)
    assert "the same ones" in str(found)


def test_micro_batches_of_a_vae_draw_one_after_the_other() -> None:
    def step(model, x):
        for rows in (slice(0, 4), slice(4, 6)):
            (both(model, x[rows]).sum() / N).backward()

    units = Units.of(N, {"microbatch": np.array([0, 0, 0, 0, 1, 1])[:, None]}, parts=("a", "b"), window=2)
    for table in (units, None):
        found = recover(step, *vae(), both, units=table)
        assert found.linear
        np.testing.assert_allclose(found.weights, 1 / N, rtol=1e-9)


def noised(model, x):
    time, noise = torch.rand(len(x), 1, dtype=x.dtype), torch.randn_like(x)
    return (model(torch.cat([(1 - time) * x + time * noise, time], 1)) - noise).square().sum(1)


def diffusion() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 32), nn.SiLU(), nn.Linear(32, 4)).double()
    return model, torch.randn(N, 4, dtype=torch.float64)


def test_a_diffusion_loss_over_all_elements_is_answered_exactly() -> None:
    found = recover(
        lambda model, x: (noised(model, x).sum() / x.numel()).backward(),
        *diffusion(),
        noised,
        units=Units.of(N, {"elements": 4}),
    )
    assert (found.convention.name, found.scale) == ("element-mean", 1.0)


def test_a_time_drawn_from_numpys_generator_is_drawn_again() -> None:
    generator = np.random.default_rng(5)

    def timed(model, x):
        time = torch.as_tensor(generator.uniform(size=len(x)))[:, None]
        return (model(torch.cat([x * time, time], 1)) - x).square().sum(1)

    found = recover(lambda model, x: timed(model, x).sum().backward(), *diffusion(), timed)
    assert (found.convention.name, found.scale) == ("sum", 1.0)


def test_functional_dropout_that_eval_mode_does_not_end_is_answered_exactly() -> None:
    class Always(nn.Module):
        def forward(self, x):
            return F.dropout(x, 0.4)

    given = setting(8, Always())
    found = recover(mean, given.model, given.batch, losses)
    assert (found.convention.name, found.scale, found.drawn) == ("mean", 1.0, True)


def test_numbers_drawn_in_another_order_are_told_and_no_gradient_is_not() -> None:
    def step(model, x):
        noise, time = torch.randn_like(x), torch.rand(len(x), 1, dtype=x.dtype)
        (model(torch.cat([(1 - time) * x + time * noise, time], 1)) - noise).square().sum(1).mean().backward()

    found = recover(step, *diffusion(), noised)
    assert not found.linear
    assert found.cause.name == "random losses"
    assert "the losses change from call to call" in str(found)
    assert "no gradient" not in str(found)


def test_losses_that_no_random_state_governs_are_refused_in_one_line() -> None:
    given = setting()
    calls = iter(range(1, 1000))
    with pytest.raises(UsageError, match="the losses change from call to call") as error:
        recover(mean, given.model, given.batch, lambda m, b: losses(m, b) * next(calls))
    assert "\n" not in str(error.value)


def test_dropout_beside_noise_is_named_and_what_is_beneath_it() -> None:
    model, x = vae()
    model.encode = nn.Sequential(model.encode, nn.Dropout(0.3))
    found = recover(lambda m, x: both(m, x).mean(0).sum().backward(), model.train(), x, both)
    assert (found.cause.name, found.cause.convention, found.cause.scale) == ("dropout", "mean", 1.0)


def test_losses_that_change_their_batch_are_read_on_copies() -> None:
    given = setting()

    def doubling(model, batch):
        batch[0].mul_(2)
        return losses(model, batch)

    found = recover(
        lambda model, batch: doubling(model, batch).mean().backward(), given.model, given.batch, doubling
    )
    assert (found.convention.name, found.scale) == ("mean", 1.0)
    assert torch.equal(given.batch[0], setting().batch[0])


def test_pieces_are_those_of_the_units_table_or_even_ones() -> None:
    assert in_turn([1, 0, 0, 1]) == ((1, 2), (0, 3))
    assert even(4) == [((0, 1), (2, 3)), ((0,), (1,), (2,), (3,)), ((0, 1, 2), (3,))]
    assert even(7, 1) == [((0,), (1,), (2,), (3,), (4,), (5,), (6,))]
