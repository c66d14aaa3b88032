"""Unreduced losses: `[samples]`, each entry summed over its own elements."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

from cases.data import IGNORED

Pair = tuple[Tensor, Tensor]


def squared_error(model: nn.Module, batch: Pair) -> Tensor:
    """`Σ_j (f(x)_j − y_j)²`, without the factor ½."""
    x, y = batch
    return F.mse_loss(model(x), y, reduction="none").flatten(1).sum(1)


def absolute_error(model: nn.Module, batch: Pair) -> Tensor:
    """`Σ_j |f(x)_j − y_j|`."""
    x, y = batch
    return F.l1_loss(model(x), y, reduction="none").flatten(1).sum(1)


def huber(model: nn.Module, batch: Pair) -> Tensor:
    """Huber's loss with δ = 1, summed over outputs."""
    x, y = batch
    return F.huber_loss(model(x), y, reduction="none").flatten(1).sum(1)


def cross_entropy(model: nn.Module, batch: Pair) -> Tensor:
    """Cross-entropy with class indices."""
    x, y = batch
    return F.cross_entropy(model(x), y, reduction="none")


def next_token(model: nn.Module, batch: Pair) -> Tensor:
    """Cross-entropy of the next token, summed over the valid positions of each sequence."""
    tokens, targets = batch
    logits = model(tokens).transpose(1, 2)
    return F.cross_entropy(logits, targets, reduction="none", ignore_index=IGNORED).sum(1)


def cross_entropy_of_copies(model: nn.Module, batch: Pair) -> Tensor:
    """`[samples, copies]` the cross-entropy of each augmented copy, the copies stacked as one batch."""
    x, y = batch
    copies = x.shape[1]
    logits = model(x.flatten(0, 1))
    losses = F.cross_entropy(logits, y.repeat_interleave(copies), reduction="none")
    return losses.reshape(-1, copies)


def squared_and_absolute_error(model: nn.Module, batch: Pair) -> Tensor:
    """`[samples, 2]` the squared and the absolute error of the same outputs."""
    x, y = batch
    error = (model(x) - y).flatten(1)
    return torch.stack([error.square().sum(1), error.abs().sum(1)], dim=1)


def class_and_reconstruction(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """`[samples, 2]` the cross-entropy of two classes, and the squared error of ten measurements."""
    x, measurements, y = batch
    output = model(x)
    error = (output[:, 2:] - measurements).square().sum(1)
    return torch.stack([F.cross_entropy(output[:, :2], y, reduction="none"), error], dim=1)


def half_squared_norm(model: nn.Module) -> Tensor:
    """`½‖θ‖²`, whose gradient is θ itself."""
    return 0.5 * torch.stack([p.square().sum() for p in model.parameters()]).sum()
