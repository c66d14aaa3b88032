"""What a batch can be divided by: numbers counted from its tensors, each with a name that says which.

A loop divides by the non-zero entries of a mask, by targets that are not ignored, by a sum of lengths. None
of that stands in the units table, all of it in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.algebra.units import Column, Units
from suite.recovery.contents import named_lists, named_tensors

MOST = 10
"""Names that are offered: with more of them, more numbers agree by chance."""
STABILISERS = (1e-8, 0.0, 1e-5, 1e-6, 1e-7, 1e-4, 1e-10, 1e-9)
"""What people add to a standard deviation that they divide by."""
UNUSED = -100
"""The label of tokens that have no loss, as torch and Hugging Face have it."""
NEXT = "[:, 1:]"
"""What the name of labels ends with that a model shifts itself."""
Counting = Callable[[Tensor], Tensor]


def numbers(batch: Any, n: int, known: set[float]) -> dict[str, float]:
    """The counts of a batch of `n` samples, by name; none that is 1 or worth what is `known` already."""
    found: dict[float, list[str]] = {}
    for name, value in _numbers(batch, n):
        if value > 0 and value not in {1.0, *known} and np.isfinite(value):
            found.setdefault(value, []).append(name)
    named = {_together(names): value for value, names in found.items()}
    return dict(list(named.items())[:MOST])


def _together(names: list[str]) -> str:
    """Counts that are the same number here are named together: which one it was cannot be told."""
    tensor = names[0].rpartition(" of ")[2]
    others = [n for n in names[1:] if not n.startswith("size") and not n.endswith(f" {tensor}")]
    if others and others[0].startswith("entries of") and names[0].startswith("entries of"):
        return f"{names[0]} or {others[0].removeprefix('entries ')}"
    return f"{names[0]} or the {others[0]}" if others else names[0]


def columns(batch: Any, units: Units, known: list[Column]) -> dict[str, Column]:
    """`[units]` what each counts and is weighted by, by name; nothing constant or `known` already.

    Masks come first: without one, there is nothing to say of units that it leaves out.
    """
    found: dict[str, Column] = {}
    of_samples = [(name, values[units.sample]) for name, values in _of_samples(batch, units.n)]
    given = [*_of_units(batch, units), *of_samples]
    for name, values in sorted(given, key=lambda pair: not np.isin(pair[1], (0, 1)).all()):
        column = np.where(units.data, values, np.nan)
        seen = column[units.data]
        same = any(np.array_equal(seen, other[units.data]) for other in (*known, *found.values()))
        if np.isfinite(seen).all() and np.ptp(seen) > 0 and not same:
            found[name] = column
    return dict(list(found.items())[:MOST])


def _of_samples(batch: Any, n: int) -> Iterator[tuple[str, Column]]:
    """`[samples]` the counts that are positive, and the numbers that people multiply losses with."""
    for name, items in named_lists(batch, n):
        rows_each = np.array([float(len(item)) for item in items])
        if (rows_each > 0).all():
            yield f"rows of the sample in {name}", rows_each
    for name, tensor in _masks_first(batch, n):
        if len(tensor) != n:
            continue
        rows = tensor.reshape(n, -1)
        if tensor.ndim == 1 and is_whole(tensor):
            labels, which, many = tensor.unique(return_inverse=True, return_counts=True)
            if 1 < len(labels) < n:
                yield f"samples with its value of {name}", many[which].double().cpu().numpy()
        yield from _counted_each(name, tensor)
        if is_factor(tensor):
            yield from _factors(name, rows[:, 0].double())


def _counted_each(name: str, tensor: Tensor) -> Iterator[tuple[str, Column]]:
    for says, count in _countings(tensor):
        values = count(tensor.reshape(len(tensor), -1)).double().cpu().numpy()
        if (values > 0).all():
            yield f"{says} of the sample in {name}", values
        elif (values > 1).any():  # as `clamp(min=1)` divides where a sample has none
            yield f"{says} of the sample in {name}, at least 1", np.maximum(values, 1.0)


def _of_units(batch: Any, units: Units) -> Iterator[tuple[str, Column]]:
    """`[units]` tensors with an entry for each unit: masks, labels that may be ignored, weights of tokens."""
    parts = max(1, len(units.parts))
    if int(units.data.sum()) != units.n * parts:
        return
    for name, tensor in _masks_first(batch, units.n):
        if len(tensor) != units.n or tensor.numel() != units.n * parts or tensor.is_complex():
            continue
        flat = tensor.reshape(units.n, parts).cpu()[units.sample, units.part]
        if _is_mask(flat) or (tensor.is_floating_point() and parts > 1):
            yield name, flat.double().numpy()
        for value in _ignored(tensor):
            yield f"[{name} ≠ {value:g}]", (flat != value).double().numpy()
        if is_whole(tensor) and bool((flat == 0).any()):
            yield f"[{name} ≠ 0]", (flat != 0).double().numpy()


def is_factor(tensor: Tensor) -> bool:
    """Whether a tensor has one number a sample, as weights and advantages are."""
    return tensor.ndim > 0 and tensor.numel() == len(tensor) and tensor.is_floating_point()


def _factors(name: str, values: Tensor) -> Iterator[tuple[str, Column]]:
    """The numbers themselves, and less their mean."""
    yield name, values.cpu().numpy()
    yield centred(name), (values - values.mean()).cpu().numpy()


def centred(name: str) -> str:
    """What a tensor less its mean is called."""
    return f"({name} less its mean)"


def deviations(batch: Any, n: int) -> dict[str, float]:
    """The standard deviations of numbers of the samples, with what people add to them, by name."""
    found = {}
    for name, tensor in named_tensors(batch, n):
        if not is_factor(tensor) or len(tensor) < 2:
            continue
        for kind, correction in (("", 1), ("biased ", 0)):
            deviation = float(tensor.double().std(correction=correction))
            for added in STABILISERS if deviation > 0 else ():
                more = f" + {added:g}" if added else ""
                found[f"{kind}standard deviation of {name}{more}"] = deviation + added
    return found


def grouped(batch: Any, units: Units) -> Iterator[tuple[str, Column]]:
    """`[units]` numbers of the samples, less the mean of their group and over its standard deviation.

    Groups are neighbours of one number, as several answers to one question are.
    """
    for name, tensor in named_tensors(batch, units.n):
        n = units.n
        if len(tensor) != n or not is_factor(tensor):
            continue
        for size in range(2, n // 2 + 1):
            if n % size == 0:
                for says, values in _by_group(name, tensor.reshape(-1, size).double(), size):
                    whole = values.flatten().cpu().numpy()
                    yield says, np.where(units.data, whole[units.sample], np.nan)


def _by_group(name: str, values: Tensor, size: int) -> Iterator[tuple[str, Tensor]]:
    """`[groups, size]` each, with what people add to a standard deviation."""
    less = values - values.mean(1, keepdim=True)
    yield f"({name} less the mean of its {size})", less
    for kind, correction in (("", 1), ("biased ", 0)):
        deviation = values.std(1, correction=correction, keepdim=True)
        for added in STABILISERS if bool((deviation > 0).all()) else ():
            more = f" + {added:g}" if added else ""
            yield (
                f"({name} less the mean of its {size}, over their {kind}standard deviation{more})",
                (less / (deviation + added)),
            )


def _numbers(batch: Any, n: int) -> Iterator[tuple[str, float]]:
    """The likeliest first: what is masked, then how many entries there are."""
    for name, items in named_lists(batch, n):
        yield f"rows of {name}", float(sum(map(len, items)))
    for name, tensor in _masks_first(batch, n):
        for says, count in _countings(tensor):
            if not name.endswith(NEXT) or says == f"entries other than {UNUSED}":  # else the whole one's
                yield f"{says} of {name}", float(count(tensor.reshape(1, -1)).double())
        if is_factor(tensor) and not is_whole(tensor):
            yield f"sum of {name}", float(tensor.double().sum())
            yield f"largest of {name}", float(tensor.double().max())
        if is_whole(tensor) and tensor.ndim == 1:
            yield f"distinct values of {name}", float(len(tensor.unique()))
    for name, tensor in named_tensors(batch, n):
        if tensor.ndim > 1:
            yield f"entries of {name}", float(tensor.numel())
        for axis, size in enumerate(tensor.shape[1:], 1):
            yield f"size of axis {axis} of {name}", float(size)


def _countings(tensor: Tensor) -> Iterator[tuple[str, Counting]]:
    """What can be counted in `[rows, entries]` of this tensor, in words before "of"."""
    if tensor.dtype == torch.bool:
        yield "True entries", lambda rows: rows.sum(1)
        yield "False entries", lambda rows: (~rows).sum(1)
        return
    least = float(tensor.min()) if tensor.numel() else 0.0
    for value in _ignored(tensor):
        yield f"entries other than {value:g}", partial(_other_than, value=value)
    if bool((tensor == 0).any()):
        yield "non-zero entries", lambda rows: (rows != 0).sum(1)
        if least < 0:
            yield "positive entries", lambda rows: (rows > 0).sum(1)
    if least >= 0 and is_whole(tensor):
        yield "sum", lambda rows: rows.double().sum(1)


def _other_than(rows: Tensor, value: float) -> Tensor:
    return (rows != value).sum(1)


def _ignored(tensor: Tensor) -> list[float]:
    """What labels may hold in the place of none: a negative number, one far above all others, a row's end."""
    if tensor.dtype == torch.bool or not is_whole(tensor) or tensor.numel() == 0:
        return []
    found = []
    values = tensor.unique()
    if values[0] < 0:
        found.append(float(values[0]))
    if len(values) > 1 and not tensor.is_floating_point():
        if values[-1] - values[-2] > 1:
            found.append(float(values[-1]))
        ends = tensor.reshape(-1, tensor.shape[-1])
        padded = ends[ends[:, -1] == ends[:, -2], -1] if ends.shape[1] > 1 < tensor.ndim else ends[:0, -1]
        found += [float(value) for value in padded.unique() if value != 0][:1]
    return list(dict.fromkeys(found))


def _masks_first(batch: Any, n: int) -> list[tuple[str, Tensor]]:
    """All tensors, and those of tokens without the first ones, which next-token losses have no use for."""
    given = [pair for named in named_tensors(batch, n) for pair in (named, *_of_next_tokens(*named))]
    return sorted(given, key=lambda pair: not _is_mask(pair[1]))


def _of_next_tokens(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    if tensor.ndim == 2 and tensor.shape[1] > 2 and bool((tensor == UNUSED).any()):
        yield f"{name}{NEXT}", tensor[:, 1:]


def _is_mask(tensor: Tensor) -> bool:
    return bool(((tensor == 0) | (tensor == 1)).all())


def is_whole(tensor: Tensor) -> bool:
    """Whether all entries are whole numbers, as those of counts, labels and masks are."""
    if tensor.is_floating_point():
        return bool((tensor == tensor.round()).all())
    return not tensor.is_complex()
