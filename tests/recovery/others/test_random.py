"""Losses that draw random numbers are read with those of the step."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.algebra.units import Units
from tests.recovery.others.kit import (
    Case,
    Loop,
    Loops,
    classes,
    entropy,
    judge,
    network,
    normal,
    pieces,
    squares,
)  # fmt: skip

LOOPS = Loops("randomness in the loss")
DRAWN = "were given the same ones"


class Dropping(nn.Module):
    """Functional dropout that eval mode leaves on."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 20).double(), nn.Linear(20, 4).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.dropout(torch.tanh(self.first(x)), 0.3))


@LOOPS.add("https://github.com/pytorch/pytorch/issues/26338", "those of mean.", DRAWN)
def dropout_that_is_always_on() -> Case:
    return Case(
        lambda model, batch: entropy(model, batch).mean().backward(),
        Dropping(), (normal(8, 6), classes(8)), entropy,
    )  # fmt: skip


@LOOPS.add("https://github.com/BogiHsu/Tacotron2-PyTorch/issues/8", "those of mean", DRAWN)
def dropout_that_is_always_on_in_micro_batches() -> Case:
    def step(model: nn.Module, batch: Any) -> None:
        for piece in pieces(batch, 4, 8):
            (entropy(model, piece).mean() / 2).backward()

    return Case(step, Dropping(), (normal(8, 6), classes(8)), entropy)


@LOOPS.add("https://github.com/huggingface/diffusers/issues/5654", "those of element-mean.", "−m_u", DRAWN)
def noise_weighted_by_its_level() -> Case:
    """Min-SNR: the time and the noise are drawn, the weight is the time's."""
    levels = torch.linspace(0.1, 0.9, 10, dtype=torch.float64)

    def each(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        t = torch.randint(10, (len(x),))
        noise, level = torch.randn_like(x), levels[t][:, None]
        seen = level.sqrt() * x + (1 - level).sqrt() * noise
        ratio = (level / (1 - level)).squeeze(1)
        return (model(torch.cat([seen, level], 1)) - noise).square(), ratio.clamp(max=1.0) / ratio

    def losses(model: nn.Module, x: Tensor) -> Tensor:
        error, weight = each(model, x)
        return error.sum(1) * weight

    def step(model: nn.Module, x: Tensor) -> None:
        error, weight = each(model, x)
        (error.mean(1) * weight).mean().backward()

    return Case(step, network(5, 4), normal(6, 4), losses, {"units": Units.of(6, {"elements": 4})})


@LOOPS.add("https://github.com/podgorskiy/VAE/issues/1", "those of weighted-sum-of-terms", "λ_t/n", DRAWN)
def annealed_divergence() -> Case:
    """A VAE whose divergence has a weight that a schedule gives."""
    model = nn.ModuleDict({"encoder": network(6, 6), "decoder": network(3, 6, seed=1)})
    state = {"beta": 0.1}

    def losses(model: Any, x: Tensor) -> Tensor:
        mean, log = model["encoder"](x).chunk(2, 1)
        z = mean + torch.randn_like(mean) * (log / 2).exp()
        divergence = -0.5 * (1 + log - mean.square() - log.exp()).sum(1)
        return torch.stack([(model["decoder"](z) - x).square().sum(1), divergence], 1)

    def step(model: nn.Module, x: Tensor) -> None:
        error, divergence = losses(model, x).mean(0)
        (error + state["beta"] * divergence).backward()

    units = Units.of(7, {"term_weight": [1.0, 0.1]}, parts=("error", "divergence"))
    return Case(step, model, normal(7, 6), losses, {"units": units})


@LOOPS.add("https://github.com/facebookresearch/higher/issues/60", "those of sum.", DRAWN)
def negatives_drawn_in_the_loss() -> Case:
    """Skip-gram with negative sampling."""
    torch.manual_seed(0)
    model = nn.ModuleList([nn.Embedding(30, 6), nn.Embedding(30, 6)]).double()

    def losses(model: Any, batch: Any) -> Tensor:
        centre, context = model[0](batch[0]), model[1](batch[1])
        others = model[1](torch.randint(30, (len(centre), 4)))
        against = F.logsigmoid(-(others @ centre[:, :, None]).squeeze(2)).sum(1)
        return -F.logsigmoid((centre * context).sum(1)) - against

    return Case(
        lambda model, batch: losses(model, batch).sum().backward(),
        model, (classes(6, c=30), classes(6, c=30, seed=5)), losses,
    )  # fmt: skip


@LOOPS.add("https://github.com/Zdafeng/SwinFIR/issues/1", "those of mean.", DRAWN)
def a_flip_by_pythons_numbers() -> Case:
    def losses(model: nn.Module, batch: Any) -> Tensor:
        x, y = batch
        rows = [row.flip(0) if random.random() < 0.5 else row for row in x]  # noqa: S311  as people draw it
        return squares(model, (torch.stack(rows), y))

    return Case(
        lambda model, batch: losses(model, batch).mean().backward(),
        network(), (normal(7, 6), normal(7, 4, seed=3)), losses,
    )  # fmt: skip


OWN = torch.Generator().manual_seed(5)


@LOOPS.add("https://github.com/kohya-ss/sd-scripts/pull/308", "those of mean.", DRAWN)
def noise_of_a_generator_of_its_own() -> Case:
    """The time and the noise are drawn from a generator that the script keeps."""

    def losses(model: nn.Module, x: Tensor) -> Tensor:
        t = torch.randint(10, (len(x), 1), generator=OWN)
        noise = torch.randn(x.shape, generator=OWN, dtype=x.dtype)
        level = 1 - t.to(x) / 12
        seen = level.sqrt() * x + (1 - level).sqrt() * noise
        return (model(torch.cat([seen, level], 1)) - noise).square().mean(1)

    return Case(lambda m, x: losses(m, x).mean().backward(), network(5, 4), normal(6, 4), losses)


@LOOPS.add(
    "https://github.com/facebookresearch/mae/issues/176",
    "The divisor 32 is a constant, or counts what the losses draw",
    DRAWN,
)
def patches_masked_at_random() -> Case:
    """A masked autoencoder: the error of what is hidden, over how much that is."""

    def each(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        mask = (torch.rand(x.shape) < 0.6).to(x)
        return (model(x * (1 - mask)) - x).square() * mask, mask

    def step(model: nn.Module, x: Tensor) -> None:
        error, mask = each(model, x)
        (error.sum() / mask.sum()).backward()

    return Case(step, network(8, 8), normal(6, 8), lambda m, x: each(m, x)[0].sum(1))


@LOOPS.add("https://github.com/eriklindernoren/PyTorch-GAN/issues/5", "those of mean.", DRAWN)
def a_penalty_between_real_and_drawn_samples() -> Case:
    """WGAN-GP with a share for each entry, drawn by NumPy."""
    generator = network(3, 4, seed=2).requires_grad_(requires_grad=False)

    def losses(model: nn.Module, x: Tensor) -> Tensor:
        fake = generator(torch.randn(len(x), 3, dtype=x.dtype))
        share = torch.tensor(np.random.random(size=x.shape))  # noqa: NPY002  as people do
        between = (share * x + (1 - share) * fake).requires_grad_()
        (slope,) = torch.autograd.grad(model(between).sum(), between, create_graph=True)
        return (model(fake) - model(x)).squeeze(1) + 10 * (slope.norm(2, dim=1) - 1).square()

    return Case(lambda m, x: losses(m, x).mean().backward(), network(4, 1), normal(6, 4), losses)


@LOOPS.add(
    "https://github.com/huggingface/diffusers/issues/1733",
    "the losses draw random numbers, not in the order of the step's",
    "draw them before, and pass them with the batch",
    "−no gradient",
)
def drawn_in_another_order() -> Case:
    """The step draws the noise before the time, the losses after it."""

    def each(model: nn.Module, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        return (model(torch.cat([x + t * noise, t], 1)) - noise).square().sum(1)

    def losses(model: nn.Module, x: Tensor) -> Tensor:
        t = torch.rand(len(x), 1, dtype=x.dtype)
        return each(model, x, torch.randn_like(x), t)

    def step(model: nn.Module, x: Tensor) -> None:
        noise = torch.randn_like(x)
        each(model, x, noise, torch.rand(len(x), 1, dtype=x.dtype)).mean().backward()

    return Case(step, network(5, 4), normal(6, 4), losses)


@pytest.mark.parametrize("loop", LOOPS.all, ids=LOOPS.names)
def test_random_losses_have_exact_weights(loop: Loop) -> None:
    judge(loop)
