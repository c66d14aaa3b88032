"""Accelerate's `accumulate`: a full window, the last window of an epoch, and what a script can do."""

from __future__ import annotations

from collections.abc import Callable

import accelerate
import numpy as np
import torch
from recipe import Pair, Row, digits, losses, network, show
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import gradsuite

SIZE, K = 2, 4
SOURCE = "Accelerator.backward, which divides by gradient_accumulation_steps (accelerate/accelerator.py)"
GUIDE = "its guide to gradient accumulation, on samples of variable size"

Reduction = Callable[[Tensor, int], Tensor]


def mean(entries: Tensor, _window: int) -> Tensor:
    """What `reduction="mean"` gives for a micro-batch."""
    return entries.mean()


def divided(entries: Tensor, _window: int) -> Tensor:
    """The same, where the script divides by K although Accelerate does."""
    return entries.mean() / K


def exact(entries: Tensor, window: int) -> Tensor:
    """The sum over the count of the window, times the K that Accelerate divides by."""
    return entries.sum() * K / window


def step(model: nn.Module, batch: Pair, reduction: Reduction = mean) -> None:
    """An epoch over the batch, which is one window, full or not, and so one update."""
    accelerator = accelerate.Accelerator(gradient_accumulation_steps=K, cpu=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(TensorDataset(*batch), batch_size=SIZE)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    for piece in loader:
        with accelerator.accumulate(model):
            accelerator.backward(reduction(losses(model, piece), len(batch[0])))
            optimizer.step()
            optimizer.zero_grad()


def row(samples: int, reduction: Reduction, done: str, convention: str, source: str) -> Row:
    """The step on so many samples, in micro-batches of two."""
    microbatch = np.arange(samples) // SIZE
    means = 1 / np.bincount(microbatch)[microbatch]
    weights = {mean: means / K, divided: means / K**2, exact: np.full(samples, 1 / samples)}
    found = gradsuite.recover(
        lambda model, batch: step(model, batch, reduction), network(), digits(samples), losses,
        units=gradsuite.Units.of(samples, {"microbatch": microbatch}, window=K),
    )  # fmt: skip
    return Row("accelerate", done, source, weights[reduction], convention, found)


def recipe() -> list[Row]:
    """Seven samples fill the window, the last micro-batch holding one; six leave it unfilled."""
    return [
        row(7, mean, "`accumulate`, K = 4: a full window of 2+2+2+1", "mean-of-microbatch-means", SOURCE),
        row(6, mean, "the last window of an epoch: 2+2+2", "partial-window-over-full-k", SOURCE),
        row(7, divided, "the script divides by K too", "fault:divided-twice", SOURCE),
        row(7, exact, "sum × K / samples of the window", "window-exact", GUIDE),
    ]


if __name__ == "__main__":
    show(recipe())
