"""A plain PyTorch loop with gradient accumulation: as it should be, and with the mistakes people make.

The batch of seven is taken in micro-batches of two, so that the last one holds a single sample. Try
`gradsuite recover examples/plain_loop.py:forgot_to_divide` too.
"""

from __future__ import annotations

import numpy as np
from recipe import Pair, Row, digits, losses, network, sample_gradients, show
from torch import nn

import gradsuite

SIZE, MAX_NORM = 2, 0.5
model, batch = network(), digits(7)
n = len(batch[0])
microbatch = np.arange(n) // SIZE
K = int(microbatch[-1]) + 1
units = gradsuite.Units.of(n, {"microbatch": microbatch}, window=K, max_norm=MAX_NORM)


def microbatches(batch: Pair) -> list[Pair]:
    """The batch in pieces of two samples."""
    return list(zip(*(part.split(SIZE) for part in batch), strict=True))


def step(model: nn.Module, batch: Pair) -> None:
    """Sums over the count of the whole window: the gradient of the batch that was not split."""
    for piece in microbatches(batch):
        (losses(model, piece).sum() / len(batch[0])).backward()


def mean_over_k(model: nn.Module, batch: Pair) -> None:
    """The usual loop: right where all micro-batches are of one size, and here they are not."""
    for piece in microbatches(batch):
        (losses(model, piece).mean() / K).backward()


def forgot_to_divide(model: nn.Module, batch: Pair) -> None:
    """Nobody divided by K."""
    for piece in microbatches(batch):
        losses(model, piece).mean().backward()


def divided_twice(model: nn.Module, batch: Pair) -> None:
    """One division by K in the loss, one more before the backward pass."""
    for piece in microbatches(batch):
        loss = losses(model, piece).mean() / K
        (loss / K).backward()


def clipped_inside(model: nn.Module, batch: Pair) -> None:
    """Clipped after each backward pass, not once before the step."""
    for piece in microbatches(batch):
        (losses(model, piece).mean() / K).backward()
        nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)


def never_zeroed(model: nn.Module, batch: Pair) -> None:
    """Per-sample gradients collected without `zero_grad()` between the backward passes."""
    collected = []
    for loss in losses(model, batch):
        loss.backward(retain_graph=True)
        collected.append([p.grad.clone() for p in model.parameters()])
    for parameter, grads in zip(model.parameters(), zip(*collected, strict=True), strict=True):
        parameter.grad = sum(grads) / len(collected)


def kept_by_reference(model: nn.Module, batch: Pair) -> None:
    """Per-sample gradients collected without a copy, and zeroed in place."""
    collected = []
    for loss in losses(model, batch):
        model.zero_grad(set_to_none=False)
        loss.backward(retain_graph=True)
        collected.append([p.grad for p in model.parameters()])
    for parameter, grads in zip(model.parameters(), zip(*collected, strict=True), strict=True):
        parameter.grad = sum(grads) / len(collected)


def weights_clipped_inside() -> np.ndarray:
    """`[samples]` what clipping after each backward pass makes of 1/(K·n_k), early ones again and again."""
    gradients, weights = sample_gradients(model, batch), np.zeros(n)
    for k in range(K):
        weights[microbatch == k] = 1 / K / (microbatch == k).sum()
        weights *= min(1.0, MAX_NORM / (np.linalg.norm(weights @ gradients) + 1e-6))
    return weights


def recipe() -> list[Row]:
    """The correct loop first, then the others."""
    means = 1 / np.bincount(microbatch)[microbatch]
    adds, same = "torch.Tensor.backward, which adds up", "torch.Tensor.grad, which stays the same tensor"
    rows = (
        (step, adds, "window-exact", np.full(n, 1 / n)),
        (mean_over_k, adds, "mean-of-microbatch-means", means / K),
        (forgot_to_divide, adds, "sum-of-microbatch-means", means),
        (divided_twice, adds, "fault:divided-twice", means / K**2),
        (clipped_inside, "torch.nn.utils.clip_grad_norm_", "fault:clipped-inside", weights_clipped_inside()),
        (never_zeroed, adds, "fault:never-zeroed", np.arange(n, 0, -1) / n),
        (kept_by_reference, same, "fault:kept-by-reference", 1.0 * (np.arange(n) == n - 1)),
    )
    found = [gradsuite.recover(loop, model, batch, losses, units=units) for loop, *_ in rows]
    return [
        Row("torch", f"`{loop.__name__}`", source, weights, convention, recovery)
        for (loop, source, convention, weights), recovery in zip(rows, found, strict=True)
    ]


if __name__ == "__main__":
    show(recipe())
