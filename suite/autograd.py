"""Plain autograd, asked in one way everywhere."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def grad(loss: Tensor, parameters: Sequence[Tensor], *, keep_graph: bool = False) -> list[Tensor]:
    """The gradient of `loss` for each parameter; zeros for one that it does not depend on.

    Those zeros require a gradient in torch 2.6, which is why all are detached.
    """
    found = torch.autograd.grad(loss, list(parameters), retain_graph=keep_graph, materialize_grads=True)
    return [part.detach() for part in found]
