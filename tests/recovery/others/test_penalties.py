"""A part of the gradient that no sample changes: penalties, momentum, leftovers, the loss of other data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.recovery.others.kit import (
    Case,
    Loop,
    Loops,
    classes,
    entropy,
    judge,
    network,
    normal,
    squares,
)  # fmt: skip

LOOPS = Loops("what no sample changes")
FUNCTION = "−another function"


def penalised(penalty: Callable[[nn.Module], Tensor | float], model: nn.Module | None = None) -> Case:
    def step(model: nn.Module, batch: Any) -> None:
        (entropy(model, batch).mean() + penalty(model)).backward()

    return Case(step, network() if model is None else model, (normal(8, 6), classes(8)), entropy)


def dropping() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Dropout(0.3), nn.Linear(20, 4))
    return layers.double().train()


def of_weights(model: nn.Module) -> Tensor:
    return sum(p.square().sum() for p in model.parameters() if p.ndim > 1)  # type: ignore[return-value]


@LOOPS.add(
    "https://github.com/Eric-mingjie/network-slimming/issues/19",
    "(an L1 term: 0.01 × the signs of the parameters of 0.weight, 2.weight is part of the gradient)",
    "Beneath it the weights are those of mean.",
    FUNCTION,
)
def sparse_weights() -> Case:
    """The signs of weights are added to their gradients."""

    def step(model: nn.Module, batch: Any) -> None:
        entropy(model, batch).mean().backward()
        for p in model.parameters():
            if p.ndim > 1:
                p.grad.data.add_(0.01 * torch.sign(p.data))

    return Case(step, network(), (normal(8, 6), classes(8)), entropy)


@LOOPS.add(
    "https://github.com/lululxvi/deepxde/pull/1905",
    "L2 and L1 terms: 0.02 × the parameters and 0.01 × the signs of these are part of the gradient",
    "those of mean.",
)
def elastic() -> Case:
    """An elastic net: both penalties at once."""
    return penalised(lambda m: sum(0.01 * (p.abs() + p.square()).sum() for p in m.parameters()))


@LOOPS.add(
    "https://github.com/google-research/fixmatch/issues/2",
    "dropout and an L2 term and clipped by norm",
    "the norm stays at 0.05",
    "× mean.",
    FUNCTION,
)
def dropout_decay_of_weights_and_clipping() -> Case:
    """Three at once: dropout, L2 on the weights alone, clipping by norm."""

    def step(model: nn.Module, batch: Any) -> None:
        (entropy(model, batch).mean() + 0.025 * of_weights(model)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.05)

    return Case(step, dropping(), (normal(8, 6), classes(8)), entropy)


@LOOPS.add(
    "https://github.com/ki-ljl/FedProx-PyTorch/issues/1",
    "a part that no sample changes",
    "as of a penalty on the parameters, which `regulariser` can give",
    "those of mean.",
)
def near_to_another_model() -> Case:
    """FedProx: the sum of norms of what lies between this model and the server's."""
    server = network(seed=5)

    def penalty(model: nn.Module) -> Tensor:
        pairs = zip(model.parameters(), server.parameters(), strict=True)
        return 0.05 * sum((p - q.detach()).norm() for p, q in pairs)  # type: ignore[return-value]

    return penalised(penalty)


@LOOPS.add(
    "https://github.com/kanezaki/pytorch-rotationnet/issues/12",
    "0.00382 × 0.weight",
    "as of a penalty on norms",
    "those of sum.",
    "−couples",
)
def norms_that_are_not_squared() -> Case:
    """`p.norm(2)` taken for L2 regularisation, beside a sum over samples."""

    def step(model: nn.Module, batch: Any) -> None:
        (entropy(model, batch).sum() + 0.01 * sum(p.norm(2) for p in model.parameters())).backward()

    return Case(step, network(), (normal(8, 6), classes(8)), entropy)


@LOOPS.add(
    "https://github.com/Lightning-AI/pytorch-lightning/issues/591",
    "the same whatever the samples and the parameters",
    "a gradient that was not set to zero before",
    "those of mean.",
    FUNCTION,
)
def a_gradient_left_by_the_generator() -> Case:
    """Nobody cleared what the other loss of a GAN left; it is added to this one's gradient."""
    model = network()
    left = [0.05 * torch.randn_like(p) for p in model.parameters()]

    def step(model: nn.Module, batch: Any) -> None:
        for p, old in zip(model.parameters(), left, strict=True):
            p.grad = old.clone()
        entropy(model, batch).mean().backward()

    return Case(step, model, (normal(8, 6), classes(8)), entropy)


@LOOPS.add(
    "https://github.com/kekmodel/FixMatch-pytorch/issues/4",
    "a part that no sample changes",
    "a loss of other data than the batch",
    "those of mean.",
    "−regulariser(",
)
def a_second_loader() -> Case:
    """Semi-supervised: unlabelled samples come from a loader of their own."""
    weak = normal(14, 6, seed=7)

    def step(model: nn.Module, batch: Any) -> None:
        sure, made_up = model(weak).detach().softmax(1).max(1)
        unlabelled = F.cross_entropy(model(weak + 0.1), made_up, reduction="none") * (sure > 0.3)
        (entropy(model, batch).mean() + unlabelled.mean()).backward()

    return Case(step, network(), (normal(8, 6), classes(8)), entropy)


@LOOPS.add(
    "https://github.com/ContinualAI/avalanche/issues/728",
    "a part that no sample changes",
    "those of mean.",
)
def what_was_learnt_before() -> Case:
    """Elastic weight consolidation in float32."""
    model, before = network().float(), network(seed=5).float()
    torch.manual_seed(1)
    fisher = [torch.rand_like(p) for p in model.parameters()]

    def penalty(model: nn.Module) -> Tensor:
        each = zip(fisher, model.parameters(), before.parameters(), strict=True)
        return sum((f * (p - q.detach()).square()).sum() for f, p, q in each)  # type: ignore[return-value]

    case = penalised(penalty, model)
    return case._replace(batch=(case.batch[0].float(), case.batch[1]))


@pytest.mark.parametrize("loop", LOOPS.all, ids=LOOPS.names)
def test_what_no_sample_changes_is_told_from_the_samples(loop: Loop) -> None:
    judge(loop)


def test_a_penalty_beside_batchnorm_that_takes_no_single_sample_is_found_on_halves() -> None:
    torch.manual_seed(0)

    class Pairs(nn.Module):
        """It takes no single sample."""

        def forward(self, x: Tensor) -> Tensor:
            if len(x) == 1:
                raise ValueError("expected more than 1 value")
            return x

    model = nn.Sequential(Pairs(), nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 4)).double()

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return squares(model[1:], batch)  # type: ignore[index]

    def step(model: nn.Module, batch: Any) -> None:
        loss = (model(batch[0]) - batch[1]).square().sum(1).mean()
        (loss + 0.01 * sum(p.abs().sum() for p in model.parameters())).backward()

    judge(Loop("", lambda: Case(step, model, (normal(8, 6), normal(8, 4, seed=3)), losses), ("an L1 term",)))
