"""Batches of parts with samples of their own: labelled and unlabelled ones, points inside and on the edge.

The losses come one part after the other. Entries of as many samples, inputs and labels say, are one part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.algebra.units import Column, Units
from suite.errors import UsageError
from suite.loops import batch as batches
from suite.loops.batch import Batch, ChosenBatch

DIGITS = 3  # of a number that is over the size of a part


@dataclass(frozen=True)
class Part:
    """Neighbouring samples.

    Args:
        names: of the entries of the batch that hold them.
        start: the first.
        size: how many.
    """

    names: tuple[str, ...]
    start: int
    size: int


def in_parts(batch: Batch, count: int) -> ChosenBatch | None:
    """The batch with its rule for samples; None where its entries do not hold `count` in parts."""
    parts = parts_of(batch, count)
    if parts is None:
        return None
    return ChosenBatch(batch, batch, partial(_chosen, parts), tuple(range(count)))


def parts_of(batch: Batch, count: int) -> tuple[Part, ...] | None:
    """The parts of a dict, list or tuple: each entry is one, or entries of one length are: what adds up."""
    sizes = {name: _size(value) for name, value in _entries(batch).items() if not is_shared(value)}
    if len(sizes) < 2 or min(sizes.values()) < 1:
        return None
    groups: list[tuple[tuple[str, ...], int]]
    if sum(sizes.values()) == count:
        groups = [((name,), size) for name, size in sizes.items()]
    elif sum(set(sizes.values())) == count and len(set(sizes.values())) > 1:
        groups = [
            (tuple(name for name, other in sizes.items() if other == size), size)
            for size in dict.fromkeys(sizes.values())
        ]
    else:
        return None
    starts = np.cumsum([0, *(size for _, size in groups)])
    return tuple(Part(names, int(start), size) for (names, size), start in zip(groups, starts, strict=False))


def parts_hint(weights: Column, error: Column, units: Units, batch: Any) -> Iterator[str]:
    """Which samples are in which part, and the weight of those that share one."""
    parts = parts_of(batch, units.n)
    if parts is None or len(weights) != units.n:
        return
    said = []
    for part in parts:
        mine = slice(part.start, part.start + part.size)
        last = part.start + part.size - 1
        span = f"sample {last}" if part.size == 1 else f"samples {part.start} – {last}"
        said.append(f"{' and '.join(part.names)} ({span}{_share(weights[mine], error[mine])})")
    yield f"The batch has parts: {', '.join(said)}."


def _share(weights: Column, error: Column) -> str:
    """A weight that all have, as a number of few digits over their count; empty where it is none."""
    total, slack = float(weights.mean()) * len(weights), float(error.max()) * len(weights)
    whole = float(f"{total:.{DIGITS}g}")
    alike = np.isfinite(weights).all() and float(np.ptp(weights)) <= 2 * float(error.max())
    if not alike or whole == 0.0 or abs(total - whole) > slack or slack > 1e-6 * abs(whole):
        return ""
    return f", {whole:g}/{len(weights)} each"


def is_shared(value: Any) -> bool:
    """Whether this belongs to all samples: a number, a name, a tensor without axes."""
    if isinstance(value, Tensor):
        return value.ndim == 0
    try:
        return not batches.tensors(value)
    except UsageError:
        return False


def _entries(batch: Batch) -> dict[str, Any]:
    if isinstance(batch, Mapping):
        return {f'batch["{key}"]': value for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return {f"batch[{row}]": value for row, value in enumerate(batch)}
    return {}


def _size(value: Any) -> int:
    try:
        return batches.size(value)
    except UsageError:
        return -1


def _chosen(parts: tuple[Part, ...], batch: Any, rows: list[int]) -> Any:
    """Samples of parts one after the other, each entry with those that are its own."""
    chosen = []
    for name, value in _entries(batch).items():
        part = next((part for part in parts if name in part.names), None)
        if part is None:
            chosen.append(value)
            continue
        mine = [row - part.start for row in rows if part.start <= row < part.start + part.size]
        chosen.append(batches.select(value, torch.tensor(mine, dtype=torch.int64, device="cpu")))
    return as_held(batch, chosen)


def as_held(batch: Any, parts: list[Any]) -> Any:
    """Other parts in a container of the same kind."""
    if type(batch) is dict:
        return dict(zip(batch, parts, strict=True))
    if isinstance(batch, Mapping):
        held = copy(batch)
        for key, part in zip(list(batch), parts, strict=True):
            held[key] = part  # type: ignore[index]
        return held
    return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
