"""Small smooth problems on which a law shows: tanh networks, least squares, sparse embeddings, in float64."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor, nn

from suite.equivalence.trajectory import Backward, Training
from suite.strategies import powers_of_two

# No bound is reached, but for the number of iterations.
LBFGS = {"max_iter": 4, "tolerance_grad": 0.0, "tolerance_change": 0.0}

# Settings under which every hyperparameter that goes with the scale is heard.
LOUD: dict[str, dict[str, Any]] = {
    "Adadelta": {"lr": 0.5, "rho": 0.9, "eps": 0.1, "weight_decay": 0.3},
    "Adagrad": {"lr": 0.1, "initial_accumulator_value": 0.5, "eps": 0.5, "weight_decay": 0.3},
    "Adam": {"lr": 0.02, "eps": 0.1, "weight_decay": 0.3, "amsgrad": True},
    "AdamW": {"lr": 0.02, "eps": 0.1, "weight_decay": 0.3, "amsgrad": True},
    "Adamax": {"lr": 0.02, "eps": 0.1, "weight_decay": 0.3},
    "ASGD": {"lr": 0.02, "lambd": 0.3, "weight_decay": 0.3, "t0": 5.0},
    "NAdam": {"lr": 0.02, "eps": 0.1, "weight_decay": 0.3},
    "RMSprop": {"lr": 0.01, "eps": 0.1, "weight_decay": 0.3, "momentum": 0.9, "centered": True},
    "Rprop": {"lr": 0.01},
    "SGD": {"lr": 0.01, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.3},
    "SparseAdam": {"lr": 0.02, "eps": 0.1},
}

POWERS_OF_TWO = powers_of_two()
OTHER_SCALES = st.one_of(
    st.integers(3, 1000).map(lambda n: Fraction(1, n)), st.floats(1e-3, 1e3, exclude_min=True)
)


def examples(count: int) -> settings:
    """`count` examples under the profile of every day, more under those that take their time."""
    return settings(max_examples=math.ceil(count * settings.default.max_examples / 50))


def network(seed: int) -> nn.Module:
    """A tanh network of 3 inputs, 4 hidden units and 2 outputs."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def line(seed: int) -> nn.Module:
    """A linear map, whose squared error is convex."""
    torch.manual_seed(seed)
    return nn.Linear(3, 2).double()


def flat(seed: int) -> nn.Module:
    """A tanh network without biases: all its parameters are matrices."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 2, bias=False)).double()


def squares(seed: int, scale: float | Fraction = 1, *, sign: float = 1) -> Backward:
    """`sign · scale` times the sum of squared errors over a batch of 5, another one each step."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(8, 5, 3, generator=generator, dtype=torch.float64)
    targets = torch.randn(8, 5, 2, generator=generator, dtype=torch.float64)

    def backward(model: nn.Module, step: int) -> Tensor:
        errors = model(inputs[step % 8]) - targets[step % 8]
        loss: Tensor = sign * float(scale) * errors.square().sum()
        loss.backward()
        return loss.detach()

    return backward


def bowl(factor: float, scale: float = 1) -> Backward:
    """A quartic bowl; `factor` sets the size of its gradient."""

    def backward(model: nn.Module, step: int) -> Tensor:
        weights = torch.cat([p.flatten() for p in model.parameters()])
        slopes = torch.linspace(1, 3, len(weights), dtype=torch.float64)
        loss: Tensor = scale * factor * (slopes * (weights - 1).square() + 0.1 * weights**4).sum()
        loss.backward()
        return loss.detach()

    return backward


def embedding(seed: int) -> nn.Module:
    """An embedding whose gradients are sparse."""
    torch.manual_seed(seed)
    return nn.Embedding(6, 2, sparse=True).double()


def lookups(seed: int, scale: float | Fraction = 1, *, sign: float = 1) -> Backward:
    """`sign · scale` times the squared distance of three looked-up rows from targets."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(0, 6, (8, 3), generator=generator)
    targets = torch.randn(8, 3, 2, generator=generator, dtype=torch.float64)

    def backward(model: nn.Module, step: int) -> Tensor:
        errors = model(rows[step % 8]) - targets[step % 8]
        loss: Tensor = sign * float(scale) * errors.square().sum()
        loss.backward()
        return loss.detach()

    return backward


def problem(name: str, seed: int, hyper: dict[str, Any], *, convex: bool = False) -> tuple[nn.Module, Any]:
    """The model that the optimizer can train, and its gradient as a function of the scale."""
    sign = -1.0 if hyper.get("maximize") else 1.0
    if name == "SparseAdam":
        return embedding(seed), lambda scale=1: lookups(seed, scale, sign=sign)
    model = line(seed) if convex else network(seed)
    return model, lambda scale=1: squares(seed, scale, sign=sign)


def buffers(training: Training) -> list[dict[str, Any]]:
    """The state of each parameter, in the parameters' order."""
    return [dict(training.optimizer.state[p]) for p in training.parameters]
