"""The scale between two named conventions, where there is one: from the sizes of a batch alone."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from fractions import Fraction
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite.algebra.columns import COUNTABLE, DECLARED, NEEDS, SAMPLES, SIZES
from suite.algebra.significant import significant
from suite.algebra.units import Column, Units
from suite.conventions import Convention
from suite.conventions.parameterwise import parameterwise
from suite.equivalence.law import Scale, is_finite
from suite.errors import UsageError, shortened, unknown
from suite.frameworks import convention_of

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
        if self.microbatches * self.ranks > self.samples:
            raise UsageError(
                f"--micro-batches is {self.microbatches} on each of --ranks {self.ranks}, more than the "
                f"{self.samples} samples of a batch: --batch-size counts those of one step, on all ranks"
            )

    def units(
        self, *, lengths: NDArray[np.float64] | None = None, ragged: bool = False, regulariser: bool = False
    ) -> Units:
        """The units table of such a batch: ranks, each with its micro-batches.

        Args:
            lengths: `[samples]` the elements of each sample, if they are not all `elements`.
            ragged: whether groups differ in size: all but one sample of each in the first.
            regulariser: whether one more unit, the regulariser, follows.
        """
        order = np.arange(self.samples)
        rank = _split(order, self.ranks, ragged=ragged)
        columns: dict[str, Any] = {"rank": rank, "microbatch": np.zeros_like(order)}
        for one in range(self.ranks) if self.microbatches > 1 else ():
            rows = order[rank == one]
            groups = min(self.microbatches, len(rows))
            columns["microbatch"][rows] = _split(np.arange(len(rows)), groups, ragged=ragged)
        if self.elements is not None:
            columns["elements"] = self.elements if lengths is None else lengths
            columns["positions"] = columns["elements"]
        return Units.of(
            self.samples,
            columns,
            regulariser=regulariser,
            window=self.microbatches,
            world_size=self.ranks,
            **{name: getattr(self, name) for name in _AS_GIVEN},
        )

    @property
    def longest(self) -> int:
        """The longest sample that may be: the longest allowed, or as far above `elements` as 1 is below."""
        assert self.elements is not None  # noqa: S101  the caller asks
        return max(self.elements, self.max_elements or 2 * self.elements - 1)


@dataclass(frozen=True)
class Ragged:
    """What a scale assumes of the sizes of samples and groups, and what unequal ones would do.

    Args:
        assumes: what is equal, to be read after "if".
        direction: whether unequal sizes change the direction, so that no rate is right.
        spread: by how much the weights of two units can come apart, between lengths of 1 and `longest`; of
            the scale, where the direction stays.
        unequal: what was tried for that, to be read after "with".
    """

    assumes: str
    direction: bool
    spread: float
    unequal: str

    @property
    def text(self) -> str:
        """One sentence."""
        if not self.direction:
            return (
                "for other sizes each batch has a scale of its own, which no constant follows: with "
                f"{self.unequal} the largest is up to {significant(self.spread, 4)} times the smallest"
            )
        beyond = (self.spread - 1) / (self.spread + 1)
        return (
            f"for other sizes the direction differs and no rate exists: with {self.unequal} one sample's "
            f"elements weigh up to {significant(self.spread, 4)} times as much as another's, and up to "
            f"{significant(100 * beyond, 4)} % of the step is beyond any rate (where gradients are at right "
            "angles)"
        )


@dataclass(frozen=True)
class Scaling:
    """How one convention's gradient follows from another's.

    Args:
        source: the old convention.
        target: the new one.
        scale: gradient of `target` / gradient of `source`.
        penalty: by what the coefficient of a penalty that is a term of the loss is to be multiplied.
        notes: what else is to know of it.
        ragged: what it assumes of sizes; None where it rests on nothing but the counts given.
    """

    source: str
    target: str
    scale: Scale
    penalty: Scale
    notes: tuple[str, ...]
    ragged: Ragged | None = None


def scale_between(
    source: str | Convention, target: str | Convention, sizes: Sizes | int, **more: Any
) -> Scaling:
    """The scale from the convention `source` to the convention `target`, and what it rests on.

    Args:
        source: the old convention: a registered name (`sum`), a framework's word (`trl:grpo`), or itself.
        target: the new one.
        sizes: of the batch of one optimizer step, all ranks and micro-batches in it: the batch size, or
            all sizes as `suite.Sizes`.
        **more: further sizes beside the batch size, named as those of `Sizes`: `elements=1000`.

    Returns:
        The scale, what becomes of a penalty in the loss, and what is assumed of sizes.

    Raises:
        UsageError: There is no such convention, it does not apply to such a batch, its coefficients
            depend on the data, the two weigh samples differently, or a size is impossible.

    Examples:
        >>> import gradsuite
        >>> gradsuite.scale_between("sum", "mean", 32).scale
        Fraction(1, 32)
        >>> found = gradsuite.scale_between("verl:seq-mean-token-sum", "trl:dapo", 512, elements=1000)
        >>> float(found.scale), found.ragged.assumes
        (0.001, 'every sample has 1000 elements')
    """
    sizes = _sizes(sizes, more)
    pair = _meant(source), _meant(target)
    for convention in pair:
        _refuse_data(convention)
        units = sizes.units()
        missing = convention.missing(units)
        if missing is not None:
            asked = [NEEDS[need].size for need in convention.needs if units.missing((need,)) is not None]
            options = [size.option for size in asked if size]
            hint = f"; give {' and '.join(options)}" if options else ""
            raise UsageError(f"{convention.name} does not apply: {missing}{hint}")
    source, target = (convention.name for convention in pair)
    ratio = _ratio(*pair, sizes.units())
    if ratio is None:
        raise UsageError(
            f"no scale takes {source} to {target}: they weigh the samples of this batch differently, "
            "which changes the direction; let --micro-batches × --ranks divide --batch-size"
        )
    whole = sizes.units(regulariser=True)
    old, new = (float(convention.column(whole)[-1]) for convention in pair)
    notes = tuple(_notes(*pair, sizes, ratio))
    return Scaling(source, target, ratio, ratio * exact(old / new), notes, _ragged(*pair, sizes, ratio))


def _sizes(given: Sizes | int, more: dict[str, Any]) -> Sizes:
    if isinstance(given, Sizes):
        if more:
            raise UsageError(f"{next(iter(more))}= is given beside Sizes(…): put it into Sizes")
        return given
    if not isinstance(given, Integral):
        raise UsageError(f"sizes is {shortened(given)}: give the batch size, a whole number, or suite.Sizes")
    names = [field.name for field in fields(Sizes)][1:]
    wrong = next((name for name in more if name not in names), None)
    if wrong is not None:
        raise unknown("size", wrong, names)
    return Sizes(int(given), **more)


def _meant(name: str | Convention) -> Convention:
    if isinstance(name, Convention):
        return name
    if name in parameterwise:
        rule = parameterwise[name]
        raise UsageError(f"no scale: {name} is no weighting of the units ({rule.why}); law: {rule.law}")
    return convention_of(name)


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
    if sizes.samples > 1:
        twice = replace(sizes, samples=2 * sizes.samples)  # which K and R divide too
        if _ratio(source, target, twice.units()) != ratio:
            return ["the scale goes with the batch size: a smaller last batch of an epoch has one of its own"]
    return []


def _ragged(source: Convention, target: Convention, sizes: Sizes, ratio: Scale) -> Ragged | None:
    """What is assumed of lengths and of groups: whether others give another scale, or none."""
    grouped = sizes.microbatches * sizes.ranks > 1
    lengths: list[NDArray[np.float64] | None] = [
        None,
        *(() if sizes.elements is None else uneven_lengths(sizes)),
    ]
    smallest = largest = float(ratio)
    apart, by_length, by_group = 1.0, False, False
    for ragged in (False, True) if grouped else (False,):
        for length in lengths:
            units = sizes.units(lengths=length, ragged=ragged)
            ratios = target.column(units) / source.column(units)
            low, high = float(ratios.min()), float(ratios.max())
            differs = bool(max(high / float(ratio), float(ratio) / low) > 1 + _ROUNDING)
            by_length |= differs and not ragged
            by_group |= differs and length is None
            smallest, largest, apart = min(smallest, low), max(largest, high), max(apart, high / low)
    if largest <= smallest * (1 + _ROUNDING):
        return None
    direction = bool(apart > 1 + _ROUNDING)
    assumes, unequal = [], []
    if by_length or not by_group:
        assumes.append(f"every sample has {sizes.elements} elements")
        unequal.append(f"samples of 1 to {sizes.longest} elements")
    if by_group:
        counts = {"micro-batches": sizes.microbatches, "ranks": sizes.ranks}
        groups = " and ".join(name for name, count in counts.items() if count > 1)
        assumes.append(f"all {groups} have equally many samples")
        unequal.append("groups of one sample beside one that has all others")
    spread = apart if direction else largest / smallest
    return Ragged(" and ".join(assumes), direction, spread, " and ".join(unequal))


def uneven_lengths(sizes: Sizes) -> list[NDArray[np.float64]]:
    """`[samples]` each: lengths of 1 and of the longest in turn, all of one kind, all but one of either.

    The one is the first, the last, or the last of the first rank: where groups differ in size, these are in
    the largest group, on a rank of one sample, and in a micro-batch of one sample beside large ones.
    """
    order = np.arange(sizes.samples)
    short, long = 1.0, float(sizes.longest)
    apart = {0: 0, sizes.samples - 1: 0, sizes.samples - sizes.ranks: 0}
    one = [kind for place in apart for kind in (order == place, order != place)]
    kinds = (order % 2 == 0, order >= 0, order < 0, *one)
    return [np.where(is_long, long, short) for is_long in kinds]


def _split(order: Any, groups: int, *, ragged: bool) -> Any:
    """`[samples]` the group of each sample: of equal sizes, or all but one sample of each in the first."""
    even = order * groups // len(order)
    return np.maximum(order - (len(order) - groups), 0) if ragged else even
