"""The scale between two named conventions, where there is one: from the sizes of a batch alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from suite.algebra.columns import COUNTABLE, DECLARED, NEEDS, SAMPLES, SIZES
from suite.algebra.units import Column, Units
from suite.conventions import Convention, conventions
from suite.equivalence.law import Scale, is_finite
from suite.errors import UsageError, shortened

_ROUNDING = 8 * np.finfo(np.float64).eps

MOST_SAMPLES = 2**22
"""Each sample has a row in a table."""

_AS_GIVEN = [
    name for name, it in DECLARED.items()
    if it.need is not None and it.need.size is not None and it.need.size.name == name and not it.column
]  # fmt: skip
"""The settings of a table that are such a size."""


@dataclass(frozen=True)
class Sizes:
    """What a batch looks like to a convention that counts: all samples alike, all groups of one size.

    Args:
        samples: n, the batch size.
        elements: m, outputs or valid tokens a sample; None where a sample is one element.
        microbatches: K, in an accumulation window.
        ranks: R.
        expected_batch_size: L, at which the sampling aims.
        max_elements: L_max, the longest sequence that the configuration allows.
    """

    samples: int
    elements: int | None = None
    microbatches: int = 1
    ranks: int = 1
    expected_batch_size: float | None = None
    max_elements: int | None = None

    def __post_init__(self) -> None:
        for size in SIZES:
            value = getattr(self, size.name)
            if value is None:
                continue
            most = MOST_SAMPLES if size is SAMPLES else COUNTABLE
            if size.whole and not 1 <= value <= most:
                needed = f"a whole number from 1 to {most} is needed"
                raise UsageError(f"{size.option} is {shortened(value)}: {needed}")
            if not size.whole and not (is_finite(value) and value > 0):
                raise UsageError(f"{size.option} is {shortened(value)}: a number above 0 is needed")
            if size.groups and value > self.samples:
                raise UsageError(f"{size.option} is {value}, more than the {self.samples} samples of a batch")

    def units(self, *, ragged: bool = False, regulariser: bool = False) -> Units:
        """The units table of such a batch; `ragged` makes samples and groups differ in size."""
        order = np.arange(self.samples)
        columns: dict[str, Any] = {
            "microbatch": _split(order, self.microbatches, ragged=ragged),
            "rank": _split(order, self.ranks, ragged=ragged),
        }
        if self.elements is not None:
            columns["elements"] = self.elements + (order if ragged else 0 * order)
            columns["positions"] = columns["elements"]
        return Units.of(
            self.samples,
            columns,
            regulariser=regulariser,
            window=self.microbatches,
            world_size=self.ranks,
            **{name: getattr(self, name) for name in _AS_GIVEN},
        )


@dataclass(frozen=True)
class Scaling:
    """How one convention's gradient follows from another's.

    Args:
        source: the old convention.
        target: the new one.
        scale: gradient of `target` / gradient of `source`.
        penalty: by what the coefficient of a penalty that is a term of the loss is to be multiplied.
        notes: on what the scale rests; empty where it rests on nothing but the counts given.
    """

    source: str
    target: str
    scale: Scale
    penalty: Scale
    notes: tuple[str, ...]


def scale_between(source: str, target: str, sizes: Sizes) -> Scaling:
    """The scale from the convention `source` to the convention `target`, and what it rests on.

    Raises:
        UsageError: There is no such convention, it does not apply to such a batch, its coefficients
            depend on the data, or the two weigh samples differently.
    """
    pair = conventions[source], conventions[target]
    for convention in pair:
        _refuse_data(convention)
        missing = convention.missing(sizes.units())
        if missing is not None:
            options = [size.option for need in convention.needs if (size := NEEDS[need].size)]
            hint = f"; give {' and '.join(options)}" if options else ""
            raise UsageError(f"{convention.name} does not apply: {missing}{hint}")
    ratio = _ratio(*pair, sizes.units())
    if ratio is None:
        raise UsageError(
            f"no scale takes {source} to {target}: they weigh the samples of this batch differently, "
            "which changes the direction; let --micro-batches and --ranks divide --batch-size"
        )
    whole = sizes.units(regulariser=True)
    old, new = (float(convention.column(whole)[-1]) for convention in pair)
    return Scaling(source, target, ratio, ratio * exact(old / new), tuple(_notes(*pair, sizes, ratio)))


def _refuse_data(convention: Convention) -> None:
    for need in convention.needs:
        if NEEDS[need].size is None:
            raise UsageError(f"no constant scale: {convention.name} {NEEDS[need].beyond}")


def _ratio(source: Convention, target: Convention, units: Units) -> Scale | None:
    """The one ratio of the coefficients of all units, or None where there are several."""
    old = source.column(units)
    if not old.all():  # a unit that the source leaves out
        return None
    ratios: Column = target.column(units) / old
    if np.ptp(ratios) > _ROUNDING * ratios.max():
        return None
    return exact(float(ratios[0]))


def exact(ratio: float) -> Scale:
    """The ratio of two counts that `ratio` is, but for rounding; `ratio` where it is none."""
    fraction = Fraction(ratio).limit_denominator(10**9)
    near = abs(float(fraction) - ratio) <= _ROUNDING * ratio
    # Any float is that near to some fraction, but only to one of much larger terms.
    return fraction if near and fraction.numerator * fraction.denominator <= 10**13 else ratio


def _notes(source: Convention, target: Convention, sizes: Sizes, ratio: Scale) -> list[str]:
    notes = []
    if sizes.samples > 1:
        twice = replace(sizes, samples=2 * sizes.samples)  # which K and R divide too
        if _ratio(source, target, twice.units()) != ratio:
            notes.append(
                "the scale goes with the batch size: a smaller last batch of an epoch has one of its own"
            )
        ragged = _ratio(source, target, sizes.units(ragged=True))
        if ragged is None:
            notes.append(
                "this holds for groups and samples of equal sizes; for others the direction differs, "
                "which no hyperparameter mends"
            )
        elif ragged != ratio:
            notes.append(
                "this holds for samples of equal lengths; for others the scale changes from batch to batch"
            )
    return notes


def _split(order: Any, groups: int, *, ragged: bool) -> Any:
    """`[samples]` the group of each sample: of equal sizes, or all but one sample of each in the first."""
    even = order * groups // len(order)
    return np.maximum(order - (len(order) - groups), 0) if ragged else even
