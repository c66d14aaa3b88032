"""Uneven sequences on two ranks, each with two micro-batches, and what a word says of their gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from tests.conventions.agreement import by_convention, left_in, network, randn

LONGEST = 5
LENGTHS = torch.tensor([5, 1, 3, 2, 4, 2])
PRESENT = (torch.arange(LONGEST) < LENGTHS[:, None]).double()  # [sequences, positions]
RANK, MICROBATCH = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 0, 1, 1])
INPUTS = randn(len(LENGTHS), LONGEST, 4)
CELLS = [[(r == RANK) & (k == MICROBATCH) for k in range(2)] for r in range(2)]


def log_probabilities(model: nn.Module, inputs: Tensor) -> Tensor:
    """`[sequences, positions]`."""
    return model(inputs).log_softmax(-1)[..., 0]


def losses(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """`[sequences]` each sequence's loss, summed over its tokens."""
    return -(log_probabilities(model, batch[0]) * batch[1]).sum(1)


def expected(word: str, *, window: int = 2, **other: ArrayLike) -> Tensor:
    """`[params]` what the word says, with `other` columns of the units table in place of these."""
    columns = {"elements": LENGTHS, "positions": LONGEST, "rank": RANK, "microbatch": MICROBATCH, **other}
    settings = {"window": window, "world_size": 2, "max_elements": 9}
    return by_convention(word, network(), (INPUTS, PRESENT), losses, columns, **settings)


def averaged_over_ranks(loss_of_cell: Callable[[nn.Module, np.ndarray], Tensor]) -> Tensor:
    """What DistributedDataParallel leaves: `backward()` for each micro-batch, and the mean over ranks."""
    gradients = []
    for microbatches in CELLS:
        model = network()
        for rows in microbatches:
            loss_of_cell(model, rows).backward()
        gradients.append(left_in(model))
    return torch.stack(gradients).mean(0)
