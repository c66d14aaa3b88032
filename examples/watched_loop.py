"""A loop under `gradsuite.watch`: an epoch of accumulation, clipped, its last window short."""

from __future__ import annotations

import numpy as np
import torch
from recipe import Pair, Row, digits, losses, network, show
from torch import nn

import gradsuite

SIZE, K = 2, 4
ADDS = "torch.Tensor.backward, which adds up"
CLIPS = "torch.nn.utils.clip_grad_norm_, after the sum over the window"


def microbatches(samples: int) -> list[Pair]:
    """The first digits in pieces of two."""
    return list(zip(*(part.split(SIZE) for part in digits(samples)), strict=True))


def train(model: nn.Module, loader: gradsuite.watch.Seen, clip: float) -> None:
    """An epoch: each mean over K, whether the window is full or not."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for index, piece in enumerate(loader):
        (losses(model, piece).mean() / K).backward()
        if (index + 1) % K == 0 or index + 1 == len(loader):
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()


def row(update: gradsuite.watch.AuditedUpdate, done: str, convention: str, source: str) -> Row:
    """One update; where it was clipped, what was there before."""
    count = np.bincount(update.units.microbatch)[update.units.microbatch]
    return Row("torch", done, source, 1 / (count * K), convention, update.beneath or update)


def recipe() -> list[Row]:
    """Two updates of one epoch: seven samples fill the window, and three do not."""
    model = network()
    with gradsuite.watch(model, losses) as audit:
        train(model, audit.see([*microbatches(7), *microbatches(3)]), clip=0.5)
    full, last = audit.updates
    return [
        row(full, "under watch, before clipping: 2+2+2+1", "mean-of-microbatch-means", CLIPS),
        row(last, "under watch, the last window: 2+1", "partial-window-over-full-k", ADDS),
    ]


if __name__ == "__main__":
    show(recipe())
