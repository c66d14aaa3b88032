"""A batch is a tensor, or a tuple, list or dict of tensors whose first axis is the samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from suite.errors import UsageError

Batch = Any  # a tensor, or a tuple, list or dict of batches


def map_tensors(function: Callable[[Tensor], Tensor], batch: Batch) -> Batch:
    """`batch` with `function` applied to each tensor in it.

    Raises:
        UsageError: Something in the batch is no tensor and no container of tensors.
    """
    if isinstance(batch, Tensor):
        return function(batch)
    if isinstance(batch, dict):
        return {key: map_tensors(function, value) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(map_tensors(function, value) for value in batch))
    if isinstance(batch, tuple | list):
        return type(batch)(map_tensors(function, value) for value in batch)
    raise UsageError(
        f"a batch holds a {type(batch).__name__}: it must be a tensor, or a tuple, list or dict of tensors"
    )


def size(batch: Batch) -> int:
    """The number of samples.

    Raises:
        UsageError: The batch has no tensor, or its tensors disagree.
    """
    lengths = [tensor.shape[0] if tensor.ndim else -1 for tensor in tensors(batch)]
    if not lengths or min(lengths) < 0 or len(set(lengths)) > 1:
        raise UsageError(
            f"the tensors of a batch have first axes of {lengths}: all must be the number of samples"
        )
    return lengths[0]


def tensors(batch: Batch) -> list[Tensor]:
    """All tensors of the batch."""
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_tensors(note, batch)
    return found


def select(batch: Batch, rows: Any) -> Batch:
    """The samples `rows` (a slice or an index tensor) of the batch, still as a batch."""
    return map_tensors(lambda tensor: tensor[rows], batch)


def to(batch: Batch, device: torch.device | str, dtype: torch.dtype) -> Batch:
    """The batch on `device`, its floating-point tensors as `dtype`."""
    return map_tensors(lambda t: t.to(device=device, dtype=dtype if t.is_floating_point() else None), batch)
