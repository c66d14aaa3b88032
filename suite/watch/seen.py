"""What is seen of one update, before anybody makes anything of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from suite.watch.microbatch import Call

UNCHANGED = 1e-6
"""How far a factor may be from 1 where nothing was multiplied."""


@dataclass(frozen=True, eq=False)
class Around:
    """What was done to the gradient around the backward passes of one window.

    Args:
        norms: by parameter name, the norm that the gradient had after the last pass, where that was seen.
        between: by what the norm of the gradient was multiplied after micro-batches that others follow, by
            their place in the window; only those where something was done.
        left: by parameter name, what the gradient held before the first pass; empty where it was zero.
        dropped: of how many micro-batches before the gradient was set to zero, so that no update used it.
        overflowed: of how many it was infinite or nan, and no update used it.
        moved: whether parameters were changed since the first call.
    """

    norms: Mapping[str, float] | None = None
    between: Mapping[int, float] = field(default_factory=dict)
    left: Mapping[str, Tensor] = field(default_factory=dict)
    dropped: int = 0
    overflowed: int = 0
    moved: bool = False


@dataclass(frozen=True, eq=False)
class SeenUpdate:
    """What was seen of one update.

    Args:
        gradient: by parameter name, as the optimizer uses it.
        calls: the micro-batches since the update before.
        at: a copy of the model at the parameters of the update; None while the model itself still has them.
        loss_scale: by what a GradScaler had multiplied the loss.
        around: what was done to the gradient before the optimizer's step, on this rank.
    """

    gradient: Mapping[str, Tensor]
    calls: list[Call]
    at: nn.Module | None = None
    loss_scale: float = 1.0
    around: Around = field(default_factory=Around)


def full(tensor: Tensor) -> Tensor:
    """A sharded tensor as a whole: all ranks must ask at the same time."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def local(tensor: Tensor) -> Tensor:
    """This rank's part of a sharded tensor."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor
