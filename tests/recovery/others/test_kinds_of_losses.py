"""Losses of every kind, odd parameters, and gradients of which some are only rounding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from suite.algebra.units import Units
from suite.errors import UsageError
from tests.recovery.others.kit import (
    Case,
    Loop,
    Loops,
    classes,
    entropy,
    found,
    judge,
    network,
    normal,
    squares,
)  # fmt: skip

LOOPS = Loops("losses of every kind")
CONDITION = Loops("ill-conditioned gradients")


def averaged(model: nn.Module, batch: Any, losses: Any, **options: Any) -> Case:
    return Case(lambda m, b: losses(m, b).mean().backward(), model, batch, losses, options)


@LOOPS.add("https://github.com/caogang/wgan-gp/issues/25", "those of mean.")
def a_penalty_on_slopes_of_images() -> Case:
    """R1, the squared slope at real images, beside a logistic loss."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(16, 1)).double()

    def losses(model: nn.Module, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        scores = model(x)
        (slope,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
        return F.softplus(-scores).squeeze(1) + 5 * slope.flatten(1).square().sum(1)

    return averaged(model, normal(5, 1, 4, 4), losses)


@LOOPS.add(
    "https://github.com/keras-team/keras-contrib/pull/232",
    "the step couples the samples",
    "on each of 6 samples alone it is a weighting",
)
def a_penalty_on_the_norm_of_the_batch() -> Case:
    """The slope's norm over the whole batch, where the losses take each sample's."""

    def parts(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.detach().requires_grad_()
        scores = model(x)
        (slope,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
        return scores.squeeze(1), slope

    def losses(model: nn.Module, x: Tensor) -> Tensor:
        scores, slope = parts(model, x)
        return scores + 10 * (slope.norm(dim=1) - 1).square()

    def step(model: nn.Module, x: Tensor) -> None:
        scores, slope = parts(model, x)
        (scores.mean() + 10 * (slope.norm() - 1).square()).backward()

    return Case(step, network(4, 1), normal(6, 4), losses)


@LOOPS.add("https://github.com/ACEsuit/mace/pull/830", "those of weighted-sum-of-terms", "λ_t/n")
def energies_and_forces() -> Case:
    """A potential: the energy, and the force as its slope, with a weight each."""

    def losses(model: nn.Module, batch: Any) -> Tensor:
        places, energy, force = batch
        places = places.detach().requires_grad_()
        out = model(places).squeeze(1)
        (slope,) = torch.autograd.grad(out.sum(), places, create_graph=True)
        return torch.stack([(out - energy).square(), (slope + force).square().sum(1)], 1)

    def step(model: nn.Module, batch: Any) -> None:
        energy, force = losses(model, batch).mean(0)
        (energy + 100 * force).backward()

    units = Units.of(6, {"term_weight": [1.0, 100.0]}, parts=("energy", "force"))
    return Case(
        step, network(3, 1), (normal(6, 3), normal(6, seed=2), normal(6, 3, seed=3)), losses, {"units": units}
    )


@LOOPS.add("https://github.com/learnables/learn2learn/issues/388", "those of mean.")
def a_contraction() -> Case:
    """A contractive autoencoder, by the Jacobian of its encoder."""
    model = nn.ModuleList([network(4, 3), network(3, 4, seed=1)])

    def losses(model: Any, x: Tensor) -> Tensor:
        jacobian = torch.func.vmap(torch.func.jacrev(lambda row: model[0](row)))(x)
        return (model[1](model[0](x)) - x).square().sum(1) + 0.1 * jacobian.square().sum((1, 2))

    return averaged(model, normal(5, 4), losses)


class Recurrent(nn.Module):
    """An LSTM over packed sequences, the last state classified."""

    def __init__(self) -> None:
        super().__init__()
        self.cells, self.out = nn.LSTM(4, 8, batch_first=True).double(), nn.Linear(8, 3).double()

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.out(self.cells(packed)[1][0][-1])


@LOOPS.add("https://github.com/SeanNaren/deepspeech.pytorch/pull/22", "those of mean.")
def packed_sequences() -> Case:
    def losses(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch[0], batch[1]), batch[2], reduction="none")

    torch.manual_seed(0)
    return averaged(Recurrent(), (normal(5, 6, 4), torch.tensor([6, 2, 4, 1, 3]), classes(5, c=3)), losses)


class Tied(nn.Module):
    """Embeddings tied to the output, sparse gradients, one frozen layer and a low-rank one beside it."""

    def __init__(self, *, sparse: bool = False, tied: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(12, 6, sparse=sparse)
        self.frozen = nn.Linear(6, 6).requires_grad_(requires_grad=False)
        self.down, self.up = nn.Linear(6, 2, bias=False), nn.Linear(2, 6, bias=False)
        self.out = nn.Linear(6, 12, bias=False)
        if tied:
            self.out.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        return self.out(torch.tanh(self.frozen(x) + self.up(self.down(x))))


@LOOPS.add("https://github.com/allenai/rslearn/pull/249", "those of mean.")
def tied_words_and_a_low_rank() -> Case:
    torch.manual_seed(0)
    return averaged(Tied().double(), (classes(7, c=12), classes(7, c=12, seed=5)), entropy)


@LOOPS.add("https://github.com/rixwew/pytorch-fm/issues/21", "those of mean.")
def sparse_embeddings() -> Case:
    torch.manual_seed(0)
    return averaged(
        Tied(sparse=True, tied=False).double(), (classes(7, c=12), classes(7, c=12, seed=5)), entropy
    )


class Spectrum(nn.Module):
    """A filter of complex numbers, held as real ones, between two real layers."""

    def __init__(self, *, real: bool = True) -> None:
        super().__init__()
        self.filter = nn.Parameter(normal(4, 2) if real else torch.view_as_complex(normal(4, 2)))
        self.out = nn.Linear(6, 3).double()

    def forward(self, x: Tensor) -> Tensor:
        held = self.filter if self.filter.is_complex() else torch.view_as_complex(self.filter)
        return self.out(torch.fft.irfft(torch.fft.rfft(x) * held, n=6))


@LOOPS.add("https://github.com/NCAR/miles-credit/pull/141", "those of mean.")
def a_complex_filter_as_real_numbers() -> Case:
    torch.manual_seed(0)
    return averaged(Spectrum(), (normal(5, 6), normal(5, 3, seed=2)), squares)


def test_complex_parameters_are_refused_with_what_to_do() -> None:
    case = averaged(Spectrum(real=False), (normal(5, 6), normal(5, 3, seed=2)), squares)
    with pytest.raises(UsageError, match="filter is complex: hold it as real numbers"):
        found(case)


@LOOPS.add("https://github.com/microsoft/Swin-Transformer/issues/107", "those of mean.")
def checkpointed_blocks() -> Case:
    model = network()

    def losses(model: Any, batch: Any) -> Tensor:
        out = checkpoint(model, batch[0], use_reentrant=False)
        return F.cross_entropy(out, batch[1], reduction="none")

    return averaged(model, (normal(6, 6), classes(6)), losses)


@LOOPS.add("https://github.com/yaringal/multi-task-learning-example/issues/8", "those of mean.")
def uncertainty_that_is_learnt() -> Case:
    """Tasks weighted by parameters of the model, as Kendall and others have it."""
    model = nn.ModuleDict({"body": network(outputs=2)})
    model.register_parameter("log", nn.Parameter(torch.tensor([0.3, -0.2], dtype=torch.float64)))

    def losses(model: Any, batch: Any) -> Tensor:
        errors = (model["body"](batch[0]) - batch[1]).square()
        return ((-model.log).exp() * errors + model.log).sum(1)

    return averaged(model, (normal(7, 6), normal(7, 2, seed=3)), losses)


@LOOPS.add("https://github.com/ErenBalatkan/Bts-PyTorch/issues/2", "those of mean.")
def a_wrapped_model() -> Case:
    """DataParallel on a machine without devices, with weight_norm inside."""
    torch.manual_seed(0)
    inner = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(6, 12)), nn.Tanh(), nn.Linear(12, 4)
    )
    return averaged(nn.DataParallel(inner.double()), (normal(6, 6), classes(6)), entropy)


@LOOPS.add("https://github.com/dragen1860/MAML-Pytorch/issues/61", "those of mean.")
def steps_inside_the_loss() -> Case:
    """Three inner steps a task; the last one's query loss counts."""

    def losses(model: nn.Module, batch: Any) -> Tensor:
        each = []
        for x, y, new_x, new_y in zip(*batch, strict=True):
            fast = dict(model.named_parameters())
            for _ in range(3):
                inner = F.mse_loss(torch.func.functional_call(model, fast, (x,)), y)
                slopes = torch.autograd.grad(inner, list(fast.values()), create_graph=True)
                fast = {k: p - 0.05 * g for (k, p), g in zip(fast.items(), slopes, strict=True)}
            each.append(F.mse_loss(torch.func.functional_call(model, fast, (new_x,)), new_y))
        return torch.stack(each)

    batch = tuple(normal(4, 5, 1, seed=seed) for seed in range(4))
    return averaged(network(1, 1, width=8), batch, losses)


@CONDITION.add("https://github.com/romilbert/samformer/issues/14", "that of mean.")
def a_curve_of_sixty_points() -> Case:
    x = torch.linspace(-1, 1, 60, dtype=torch.float64)[:, None]
    return averaged(network(1, 1, width=64), (x, torch.sin(4 * x)), squares)


@CONDITION.add("https://github.com/rotmanfinhub/deep-macrofin/issues/35", "those of mean.")
def features_far_from_zero() -> Case:
    """Inputs with a large offset: all gradients point almost the same way."""
    return averaged(network(3, 2), (normal(12, 3) * 1e-3 + 5, normal(12, 2, seed=3)), squares)


@CONDITION.add(
    "https://github.com/huggingface/transformers/issues/13255", "have the same gradient", "sum can be told"
)
def samples_that_come_twice() -> Case:
    x, y = normal(6, 6), classes(6)
    return averaged(network(), (torch.cat([x, x[:2]]), torch.cat([y, y[:2]])), entropy)


class Attending(nn.Module):
    """Attention, whose key bias has no gradient but rounding."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.out = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.mix(x, x, x, need_weights=False)[0].mean(1))


@CONDITION.add(
    "https://github.com/THUDM/GraphMAE/issues/36", "clipped in groups of tensors", "to 0.02", "those of mean"
)
def a_key_bias_and_clipping_by_groups() -> Case:
    torch.manual_seed(0)
    model = Attending().eval()

    def step(model: nn.Module, batch: Any) -> None:
        entropy(model, batch).mean().backward()
        named = dict(model.named_parameters())
        for biases in (True, False):
            nn.utils.clip_grad_norm_([p for n, p in named.items() if ("bias" in n) is biases], 0.02)

    return Case(step, model, (normal(6, 5, 8).float(), classes(6, c=3)), entropy)


@CONDITION.add("https://github.com/leeesangwon/PyTorch-Image-Retrieval/issues/11", "those of mean")
def a_bias_that_differences_cancel() -> Case:
    """Pairs are ranked by the difference of their scores: the last bias has no gradient."""

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return -F.logsigmoid((model(batch[0]) - model(batch[1])).squeeze(1))

    return averaged(network(outputs=1), (normal(6, 6), normal(6, 6, seed=3)), losses)


@pytest.mark.parametrize("loop", LOOPS.all, ids=LOOPS.names)
def test_losses_of_every_kind_have_their_weights(loop: Loop) -> None:
    judge(loop)


@pytest.mark.parametrize("loop", CONDITION.all, ids=CONDITION.names)
def test_gradients_that_are_hard_to_tell_apart_have_theirs(loop: Loop) -> None:
    judge(loop)
