"""What a batch holds, with the expressions that give it: tensors, and lists with an item for each sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from suite.loops.batch import content

LARGEST_COUNTED = 2**24  # entries: a larger tensor is not counted


def named_tensors(batch: Any, n: int) -> Iterator[tuple[str, Tensor]]:
    """All tensors of a batch of `n` samples, but those inside of lists with an item for each."""
    return _tensors(content(batch), n)


def named_lists(batch: Any, n: int) -> Iterator[tuple[str, list[Tensor]]]:
    """`[samples]` tensors with as many rows as each has of something: boxes, `batch[1][:]["boxes"]`."""
    return _lists(content(batch), n)


def _tensors(batch: Any, n: int, name: str = "batch") -> Iterator[tuple[str, Tensor]]:
    if isinstance(batch, Tensor):
        if batch.ndim and 0 < batch.numel() <= LARGEST_COUNTED:
            yield name, batch.detach()
    elif not _has_items(batch, n):
        for access, value in _members(batch):
            yield from _tensors(value, n, f"{name}{access}")


def _lists(batch: Any, n: int, name: str = "batch") -> Iterator[tuple[str, list[Tensor]]]:
    if not _has_items(batch, n):
        for access, value in _members(batch):
            yield from _lists(value, n, f"{name}{access}")
        return
    if isinstance(batch[0], Tensor):
        if _are_rows(batch):
            yield f"{name}[:]", [item.detach() for item in batch]
        return
    items = [dict(_members(item)) for item in batch]
    for access in items[0]:
        column: list[Any] = [item.get(access) for item in items]
        if _are_rows(column):
            yield f"{name}[:]{access}", [value.detach() for value in column]


def _has_items(batch: Any, n: int) -> bool:
    """Whether this is a list with an item for each sample: a dict, or a tensor of a shape of its own."""
    if not isinstance(batch, list | tuple) or hasattr(batch, "_fields") or len(batch) != n or n < 2:
        return False
    if not all(isinstance(item, Tensor) for item in batch):
        return all(isinstance(item, Mapping) for item in batch)
    by_sample = all(item.ndim > 0 and len(item) == n for item in batch)
    return len({item.shape for item in batch}) > 1 and not by_sample


def _are_rows(items: Any) -> bool:
    """Whether these are tensors that could be put below each other."""
    tensors = all(isinstance(item, Tensor) and item.ndim > 0 for item in items)
    return tensors and len({(item.dtype, item.shape[1:]) for item in items}) == 1


def _members(batch: Any) -> Iterator[tuple[str, Any]]:
    """What a container holds, with the expressions that give it."""
    if isinstance(batch, Mapping):
        yield from ((f"[{key!r}]".replace("'", '"'), value) for key, value in batch.items())
    elif isinstance(batch, tuple) and hasattr(batch, "_fields"):
        yield from ((f".{field}", getattr(batch, field)) for field in batch._fields)
    elif isinstance(batch, list | tuple):
        yield from ((f"[{index}]", value) for index, value in enumerate(batch))
    elif is_dataclass(batch):
        yield from ((f".{each.name}", getattr(batch, each.name)) for each in fields(batch))
