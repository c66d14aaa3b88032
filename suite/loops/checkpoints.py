"""Activation checkpointing that `torch.autograd.grad` cannot see through, in the losses.

Torch's reentrant form runs a backward pass of its own inside the outer one. Asked for the gradient of chosen
tensors it raises, or, where its inputs need no gradient, leaves what is inside without one. Computed plainly,
the losses are the same and have all their gradients.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from torch.utils import checkpoint

P = ParamSpec("P")
Out = TypeVar("Out")


class _Plain:
    """Stands for `torch.utils.checkpoint.CheckpointFunction`."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve: bool, *args: Any) -> Any:  # noqa: ARG004, FBT001  as torch's
        """Call the checkpointed function."""
        return function(*args)


def not_reentrant(function: Callable[P, Out]) -> Callable[P, Out]:
    """The function, inside which torch's reentrant checkpoints are plain calls."""

    @functools.wraps(function)
    def plain(*args: P.args, **kwargs: P.kwargs) -> Out:
        with _plain_checkpoints():
            return function(*args, **kwargs)

    return plain


@contextmanager
def _plain_checkpoints() -> Iterator[None]:
    own = checkpoint.CheckpointFunction
    checkpoint.CheckpointFunction = _Plain  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        checkpoint.CheckpointFunction = own  # type: ignore[misc]
