"""A framework's gradient beside the one that a convention's coefficients give for the same batch."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from suite import Units, per_sample_gradients
from suite.frameworks import convention_of
from suite.loops.batch import Batch, size
from suite.loops.loop import Losses, Regulariser

ROUNDING = 1e-12


def network(inputs: int = 4, outputs: int = 3, *, seed: int = 0) -> nn.Module:
    """A tanh network in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(inputs, 5), nn.Tanh(), nn.Linear(5, outputs)).double()


def randn(*shape: int, seed: int = 1) -> Tensor:
    """Standard normal float64 numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_convention(
    name: str,
    model: nn.Module,
    batch: Batch,
    losses: Losses,
    columns: dict[str, ArrayLike] | None = None,
    regulariser: Regulariser | None = None,
    **settings: Any,
) -> Tensor:
    """`[params]` the reduced gradient `cᵀG`, `c` the coefficients of the convention `name`.

    Args:
        name: of the convention, or a framework's word.
        model: in float64.
        batch: the samples.
        losses: unreduced, `[samples]` or `[samples, parts]`.
        columns: of the units table, besides `sample` and `part`.
        regulariser: gives the last unit.
        **settings: the remaining fields of the units table.
    """
    units = Units.of(size(batch), columns, regulariser=regulariser is not None, **settings)
    unit_gradients = per_sample_gradients(model, batch, losses, engine="loop", regulariser=regulariser)
    coefficients = convention_of(name).coefficients(units, unit_gradients.gram())
    return unit_gradients.reduce(coefficients)[0]


def by_backward(model: nn.Module, loss: Tensor) -> Tensor:
    """`[params]` the gradient that the framework's own scalar `loss` leaves in `.grad`."""
    model.zero_grad()
    loss.backward()
    return left_in(model)


def left_in(model: nn.Module) -> Tensor:
    """`[params]` the `.grad` of all parameters."""
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def distance(actual: Tensor, expected: Tensor) -> float:
    """`‖actual − expected‖ / ‖expected‖`."""
    return float((actual - expected).norm() / expected.norm())
