"""Plain autograd, asked in one way everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def grad(
    loss: Tensor, parameters: Sequence[Tensor], weights: Tensor | None = None, *, keep_graph: bool = False
) -> list[Tensor]:
    """The gradient of `loss`, or of losses so weighted, for each parameter; zeros where it depends on none.

    Those zeros require a gradient in torch 2.6, which is why all are detached.
    """
    found = torch.autograd.grad(
        loss, list(parameters), weights, retain_graph=keep_graph, materialize_grads=True
    )
    return [part.detach() for part in found]


def values(losses: Callable[[], Tensor]) -> Tensor:
    """The losses as numbers, without a graph unless they take derivatives themselves."""
    try:
        with torch.no_grad():
            return losses()
    except RuntimeError:
        with torch.enable_grad():
            return losses().detach()
