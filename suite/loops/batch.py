"""A batch is a tensor, or anything made of tensors whose first axis is the samples.

That is a tuple, list, dict, dataclass or object with attributes, nested as people have them; numbers, words
and None may stand beside the tensors. What is laid out otherwise comes with its rule, as a `ChosenBatch`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from suite.errors import UsageError

Batch = Any
Choose = Callable[[Any, list[int]], Any]
"""`choose(batch, rows)`: the samples `rows` of a batch, as a batch."""
NO_TENSORS = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    np.ndarray,
    np.generic,
    torch.dtype,
    torch.device,
)
OPAQUE = (nn.Module, type, torch.Generator)


@dataclass(frozen=True, eq=False)
class ChosenBatch:
    """A batch whose samples a rule takes out.

    Args:
        value: what the step and the losses are given.
        whole: what the rule takes samples out of.
        choose: the rule; `choose(whole, rows)` gives a batch.
        rows: the samples of `whole` that are in `value`.
    """

    value: Any
    whole: Any
    choose: Choose
    rows: tuple[int, ...]


def map_tensors(function: Callable[[Tensor], Tensor], batch: Batch) -> Batch:
    """`batch` with `function` applied to each tensor in it.

    Raises:
        UsageError: Something in the batch can hold no tensor that could be found.
    """
    if isinstance(batch, ChosenBatch):
        value, whole = (_mapped(function, part, strict=False) for part in (batch.value, batch.whole))
        return ChosenBatch(value, whole, batch.choose, batch.rows)
    return _mapped(function, batch, strict=True)


def _mapped(
    function: Callable[[Tensor], Tensor],
    batch: Batch,
    *,
    strict: bool,
    leaf: Callable[[Any], Any] = lambda value: value,
) -> Batch:
    inside: set[int] = set()  # objects that hold what is being mapped: they may refer to each other

    def mapped(value: Any, *, strict: bool) -> Any:
        if isinstance(value, Tensor):
            return function(value)
        if isinstance(value, NO_TENSORS) or _is_list_of_names(value):
            return leaf(value)
        if isinstance(value, Mapping):
            return _of_mapping({key: mapped(part, strict=strict) for key, part in value.items()}, value)
        if isinstance(value, tuple | list):
            parts = [mapped(part, strict=strict) for part in value]
            return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
        names = _attributes(value)
        if names is not None and id(value) not in inside:
            return with_attributes(value, names)
        if names is None and strict:
            raise UsageError(
                f"a batch holds a {type(value).__name__}: it must be made of tensors, in tuples, lists, "
                "dicts, dataclasses or objects with attributes"
            )
        return value

    def with_attributes(value: Any, names: list[str]) -> Any:
        inside.add(id(value))
        other = copy.copy(value)
        for name in names:
            object.__setattr__(other, name, mapped(getattr(value, name), strict=False))
        inside.discard(id(value))
        return other

    return mapped(batch, strict=strict)


def _is_list_of_names(value: Any) -> bool:
    """Whether this is a list of names, say: of samples or not, but no tensors are in it."""
    return (
        isinstance(value, tuple | list)
        and bool(value)
        and all(isinstance(part, NO_TENSORS) for part in value)
    )


def _of_mapping(content: dict[Any, Any], like: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """A mapping of the same kind with other content."""
    if type(like) is dict or not isinstance(like, MutableMapping):
        return content
    other = copy.copy(like)
    for key, value in content.items():
        other[key] = value
    return other


def _attributes(value: Any) -> list[str] | None:
    """The names of what an object holds; None where that cannot be looked into."""
    if isinstance(value, OPAQUE) or callable(value):
        return None
    if is_dataclass(value):
        return [field.name for field in fields(value) if hasattr(value, field.name)]
    return list(vars(value)) if hasattr(value, "__dict__") else None


def size(batch: Batch) -> int:
    """The number of samples.

    Raises:
        UsageError: The batch has no tensor, or its tensors disagree.
    """
    if isinstance(batch, ChosenBatch):
        return len(batch.rows)
    lengths = [tensor.shape[0] if tensor.ndim else -1 for tensor in tensors(batch)]
    if not lengths:
        raise UsageError("a batch holds no tensor: its data must be tensors, whose first axis is the samples")
    if min(lengths) < 0 or len(set(lengths)) > 1:
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

    if isinstance(batch, ChosenBatch):
        _mapped(note, batch.value, strict=False)
    else:
        map_tensors(note, batch)
    return found


def select(batch: Batch, rows: Any) -> Batch:
    """The samples `rows` (a slice, a list or an index tensor) of the batch, still as a batch.

    Lists and arrays with an item for each sample, such as file names, are cut too.
    """
    if isinstance(batch, ChosenBatch):
        chosen = tuple(np.array(batch.rows, dtype=np.int64)[_indices(rows)].tolist())
        return ChosenBatch(batch.choose(batch.whole, list(chosen)), batch.whole, batch.choose, chosen)
    found = tensors(batch)
    samples = len(found[0]) if found and found[0].ndim else -1

    def leaf(value: Any) -> Any:
        if not isinstance(value, tuple | list | np.ndarray) or np.shape(value)[:1] != (samples,):
            return value
        if isinstance(value, np.ndarray):
            return value[_indices(rows)]
        return type(value)(value[row] for row in np.arange(samples)[_indices(rows)])

    return _mapped(lambda tensor: tensor[rows], batch, strict=True, leaf=leaf)


def _indices(rows: Any) -> Any:
    return rows.cpu().numpy() if isinstance(rows, Tensor) else rows


def content(batch: Batch) -> Any:
    """What the step and the losses are given."""
    return batch.value if isinstance(batch, ChosenBatch) else batch


def collated(samples: Sequence[Any], collate: Callable[[list[Any]], Any]) -> ChosenBatch:
    """A list of samples as the batch that a data loader makes of it."""

    def choose(whole: Any, rows: list[int]) -> Any:
        return collate([whole[row] for row in rows])

    return ChosenBatch(collate(list(samples)), list(samples), choose, tuple(range(len(samples))))


def to(batch: Batch, device: torch.device | str, dtype: torch.dtype) -> Batch:
    """The batch on `device`, its floating-point tensors as `dtype`."""
    there = torch.device(device)

    def moved(t: Tensor) -> Tensor:
        wanted = dtype if t.is_floating_point() else None
        return t.to(device=there, dtype=wanted, non_blocking=there.type == "cuda")  # towards it nobody waits

    return map_tensors(moved, batch)
