"""What is seen of one update, before anybody makes anything of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from suite.watch.microbatch import Call

UNCHANGED = 1e-6
"""How far a factor may be from 1 where nothing was multiplied."""


@dataclass(frozen=True, eq=False)
class SeenUpdate:
    """What was seen of one update.

    Args:
        gradient: by parameter name, as the optimizer uses it.
        calls: the micro-batches since the update before.
        at: a copy of the model at the parameters of the update; None while the model itself still has them.
        before: by parameter name, the norm that the gradient had after the last backward pass, where that
            was seen.
        loss_scale: by what a GradScaler had multiplied the loss.
        between: by what the norm of the gradient was multiplied after micro-batches that others follow, by
            their place in the window; only those where something was done.
    """

    gradient: Mapping[str, Tensor]
    calls: list[Call]
    at: nn.Module | None = None
    before: Mapping[str, float] | None = None
    loss_scale: float = 1.0
    between: Mapping[int, float] | None = None


def full(tensor: Tensor) -> Tensor:
    """A sharded tensor as a whole: all ranks must ask at the same time."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def local(tensor: Tensor) -> Tensor:
    """This rank's part of a sharded tensor."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def gradient_norms(model: nn.Module) -> dict[str, float] | None:
    """The norm of each parameter's gradient; None where there are none, or not here."""
    held = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    if not held or any(hasattr(g, "full_tensor") or g.is_sparse for g in held.values()):
        return None  # optimizers took them, or they lie elsewhere
    norms = [torch.linalg.vector_norm(g, dtype=torch.float64).cpu() for g in held.values()]
    return dict(zip(held, torch.stack(norms).tolist(), strict=True))
