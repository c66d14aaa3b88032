"""The gradient that an optimizer is about to use."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import FrameType

import torch
from torch import Tensor
from torch.amp import GradScaler
from torch.optim import Optimizer

from suite.watch.seen import full

FRAMES = 12
"""How far above the optimizer's step a GradScaler is looked for."""


def used_gradient(optimizer: Optimizer, names: Mapping[int, str]) -> dict[str, Tensor] | None:
    """By parameter name, what an optimizer is about to use; None where it will use none: it overflowed.

    Args:
        optimizer: whose step begins.
        names: of the parameters that are looked at, by `id`.
    """
    scale = getattr(optimizer, "grad_scale", None)
    if isinstance(scale, Tensor):  # it unscales inside its step
        found = getattr(optimizer, "found_inf", None)
        if isinstance(found, Tensor) and bool(found):
            return None
    gradient = {}
    for group in optimizer.param_groups:
        for p in group["params"]:
            if id(p) in names and p.requires_grad:
                part = torch.zeros_like(p) if p.grad is None else p.grad
                whole = full(part.to_dense() if part.is_sparse else part).detach().clone()
                gradient[names[id(p)]] = whole / scale if isinstance(scale, Tensor) else whole
    return gradient


def loss_scale() -> float:
    """By what the GradScaler that calls the optimizer has multiplied the loss; 1 where none does."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001
    for _ in range(FRAMES):
        if frame is None:
            break
        caller = frame.f_locals.get("self")
        if isinstance(caller, GradScaler):
            return caller.get_scale()
        frame = frame.f_back
    return 1.0
