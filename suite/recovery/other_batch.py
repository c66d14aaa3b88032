"""Which other batch would tell two weightings apart that are the same on this one.

The answer is tried, not argued: the units table is changed in one respect, and both are computed anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from suite.algebra.columns import UNIT_COLUMNS
from suite.algebra.gram import Gram
from suite.algebra.units import Column, Index, Units

WeightsOf = Callable[[Units, Gram], Column]
SEVERAL, UNEQUAL = "with more elements in each sample", "whose samples have unequal numbers of elements"
FAR = 1e-3  # times the threshold or over it: gradients of length one are surely clipped, or surely not


def other_batch(first: WeightsOf, others: Sequence[WeightsOf], units: Units) -> str | None:
    """What a batch must be like to tell `first` from all of `others`; None where none tried would.

    The words follow "a batch": "with micro-batches of unequal size".
    """
    for says, table in _others(units):
        gram = _lengths_of_one(0 if table.max_norm is None else len(table))  # none clips without a threshold
        mine = first(table, gram)[table.data]
        columns = (other(table, gram)[table.data] for other in others)
        if not any(np.allclose(mine, column, rtol=1e-6, atol=0.0) for column in columns):
            return says
    return None


@lru_cache(2)
def _lengths_of_one(units: int) -> Gram:
    found = np.eye(units)
    found.flags.writeable = False
    return found


def _others(units: Units) -> Iterator[tuple[str, Units]]:
    """The table, changed in one respect each time."""
    data, sample = units.data, units.sample
    everyone = np.unique(sample[data])
    if units.max_norm is not None:
        yield "whose gradient is far longer than the clip threshold", replace(units, max_norm=FAR)
        yield "whose gradient is far shorter than the clip threshold", replace(units, max_norm=1 / FAR)
    yield "of another size", _of(units, np.repeat(everyone, 2))
    for group, many in (("microbatch", "micro-batches"), ("rank", "ranks")):
        if getattr(units, group) is not None:
            yield f"with {many} of unequal size", _of(units, np.append(everyone, [everyone[0]] * 2))
            yield f"with another number of {many}", _one_more(units, everyone, group)
    if units.microbatch is not None:
        yield "that does not fill its window", replace(units, window=units.window + 1)
    if units.rank is not None:
        yield "that leaves a rank without data", replace(units, world_size=units.world_size + 1)
    yield SEVERAL, _longer(units, 2 + 0 * sample)
    yield UNEQUAL, _longer(units, 1 + sample % 3)
    yield from _settings(units)


def _settings(units: Units) -> Iterator[tuple[str, Units]]:
    data, uneven = units.data, 1.0 + units.sample % 3
    if units.positions is not None:
        padded = np.where(data, units.positions + uneven, 0)
        yield "with more padding", replace(units, positions=padded)
    if units.weight is not None:
        yield "whose weights differ", replace(units, weight=np.where(data, uneven, 0))
    if units.term_weight is not None:
        others = np.where(data, 3.0 + units.part, 0)
        yield "whose terms have other weights", replace(units, term_weight=others)
    if units.expected_batch_size is not None:
        yield "whose size is not the expected one", replace(units, expected_batch_size=units.n + 1.0)
    if units.max_elements is not None:
        yield "that is shorter than L_max", replace(units, max_elements=units.max_elements + 1)


def _longer(units: Units, times: Index) -> Units:
    """Every unit with so many times its elements."""
    scale = np.where(units.data, times, 0)
    positions = None if units.positions is None else units.positions * scale
    return replace(units, elements=np.maximum(units.elements, units.data) * scale, positions=positions)


def _one_more(units: Units, everyone: Index, group: str) -> Units:
    """The first sample once more, in a micro-batch or on a rank of its own."""
    longer = _of(units, np.append(everyone, everyone[0]))
    index = getattr(longer, group).copy()
    index[longer.sample == len(everyone)] = index.max() + 1
    if group == "microbatch":
        return replace(longer, microbatch=index, window=units.window + 1)
    return replace(longer, rank=index, world_size=units.world_size + 1)


def _of(units: Units, samples: Index) -> Units:
    """The table of these samples, in this order; the regulariser stays the last unit."""
    data = np.flatnonzero(units.data)
    data = data[np.argsort(units.sample[data], kind="stable")]
    first, last = (np.searchsorted(units.sample[data], samples, side) for side in ("left", "right"))
    counts = last - first
    places = np.arange(counts.sum()) + np.repeat(first - counts.cumsum() + counts, counts)
    taken = np.append(data[places], np.flatnonzero(~units.data))
    columns = {name: getattr(units, name)[taken] for name in UNIT_COLUMNS if getattr(units, name) is not None}
    numbers = np.repeat(np.arange(len(samples)), counts)
    columns["sample"] = np.append(numbers, [-1] * int((~units.data).sum()))
    return replace(units, **columns)
