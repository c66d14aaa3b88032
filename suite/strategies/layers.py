"""Layers that `problems` draws and torch has no single module for: attention, and weights used twice."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Scaled dot-product attention of a sequence to itself, from `Linear` layers alone."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inward = nn.Linear(width, 3 * width)
        self.outward = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """`[samples, length, width]` to the same shape."""
        q, k, v = (p.unflatten(2, (self.heads, -1)).transpose(1, 2) for p in self.inward(x).chunk(3, dim=2))
        weights = (q @ k.transpose(2, 3) / q.shape[3] ** 0.5).softmax(3)
        attended: Tensor = self.outward((weights @ v).transpose(1, 2).flatten(2))
        return attended


class Twice(nn.Module):
    """One layer, applied twice with a tanh between."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """As the layer's."""
        again: Tensor = self.layer(self.layer(x).tanh())
        return again


class Tied(nn.Module):
    """An embedding whose weight is the output projection too, as in many language models."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """`[samples, length]` indices to `[samples, vocabulary]` scores."""
        return F.linear(self.embedding(tokens).mean(1), self.embedding.weight)
