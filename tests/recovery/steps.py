"""Models, batches and training steps whose weights are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pair = tuple[Tensor, Tensor]
Step = Callable[[nn.Module, Pair], object]


@dataclass(frozen=True)
class Setting:
    """A model with a batch and its unreduced losses."""

    model: nn.Module
    batch: Pair
    dtype: torch.dtype

    @property
    def n(self) -> int:
        return len(self.batch[0])


def losses(model: nn.Module, batch: Pair) -> Tensor:
    x, y = batch
    return F.cross_entropy(model(x), y, reduction="none")


def setting(n: int = 8, *layers: nn.Module, dtype: torch.dtype = torch.float64, seed: int = 0) -> Setting:
    """A small classifier with `layers` in its middle, in train mode."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 24), *layers, nn.Tanh(), nn.Linear(24, 4)).to(dtype)
    return Setting(model, (torch.randn(n, 6, dtype=dtype), torch.randint(4, (n,))), dtype)


def mean(model: nn.Module, batch: Pair) -> None:
    losses(model, batch).mean().backward()


def weighted(coefficients: object) -> Step:
    """One backward pass of the weighted sum."""

    def step(model: nn.Module, batch: Pair) -> None:
        entries = losses(model, batch)
        (torch.as_tensor(coefficients, dtype=torch.float64).to(entries) * entries).sum().backward()

    return step


def one_by_one(coefficients: object) -> Step:
    """One backward pass a sample."""

    def step(model: nn.Module, batch: Pair) -> None:
        for row, c in enumerate(torch.as_tensor(coefficients, dtype=torch.float64)):
            sample = tuple(part[row : row + 1] for part in batch)
            (float(c) * losses(model, sample).sum()).backward()

    return step


def returned(coefficients: object) -> Step:
    """Gradients added up by hand and returned, nothing left in `.grad`."""

    def step(model: nn.Module, batch: Pair) -> list[Tensor]:
        parameters = list(model.parameters())
        total = [torch.zeros_like(p) for p in parameters]
        for c, loss in zip(
            torch.as_tensor(coefficients, dtype=torch.float64), losses(model, batch), strict=True
        ):
            parts = torch.autograd.grad(loss, parameters, retain_graph=True)
            total = [t + float(c) * part for t, part in zip(total, parts, strict=True)]
        return total

    return step
