"""What all problems are made of: a small model, and how a batch is cut."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from suite.case import Problem

NO_DECAY = {"vectors": {"weight_decay": 0.0}}
"""The usual group of `torch.optim`: biases and norms are not decayed."""

Pair = tuple[Tensor, Tensor]

Triple = tuple[Tensor, Tensor, Tensor]


class Branches(nn.Module):
    """A model with a `part`, its backbone, and a head on top of it.

    Args:
        part: the backbone.
        head: what makes the outputs.
        scalar: whether there is one parameter more, without an axis: the factor of the outputs.
    """

    def __init__(self, part: nn.Module, head: nn.Module, *, scalar: bool = False) -> None:
        super().__init__()
        self.part, self.head = part, head
        self.scale = nn.Parameter(torch.tensor(1.5)) if scalar else 1.0

    def forward(self, inputs: Tensor) -> Tensor:
        """The outputs, times the factor."""
        outputs: Tensor = self.head(torch.tanh(self.part(inputs))) * self.scale
        return outputs


def network(inputs: int, outputs: int, *, scalar: bool = False) -> Branches:
    """Two linear layers, the first of which is the part."""
    return Branches(nn.Linear(inputs, 6), nn.Linear(6, outputs), scalar=scalar)


def problem(**settings: Any) -> Problem:
    """A problem on one rank, in one piece, that nothing clips, unless it is said otherwise."""
    return Problem(**{"microbatches": 1, "ranks": 1, "max_norm": None, **settings})


def with_penalty(problem: Problem, select: str = "", factor: float = 1.0) -> Problem:
    """The problem with `factor·½‖w‖²` added, over the parameters whose names begin with `select`."""

    def penalty(model: nn.Module) -> Tensor:
        squares = [p.square().sum() for name, p in model.named_parameters() if name.startswith(select)]
        return factor * 0.5 * torch.stack(squares).sum()

    return replace(problem, regulariser=penalty)


def split(batch: Any, pieces: int) -> list[Any]:
    """The batch cut evenly into micro-batches, or over ranks."""
    cut = [tensor.chunk(pieces) for tensor in batch]
    return list(zip(*cut, strict=True))
