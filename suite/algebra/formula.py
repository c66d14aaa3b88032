"""A scale as a formula: 32 is `n` where the batch has 32 samples, 0.1 is `1/d` with ten outputs.

Numbers that happen to agree on one batch (n = K = 4) are told apart by the other batches: the formula
of a convention is the simplest that gives its scale on every batch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from suite.algebra.units import Units

LEGEND = (
    "n samples, d elements a sample, V valid tokens, T padded length, Lmax longest length allowed, "
    "K micro-batches of W in a full window, R ranks with data of S, L expected batch size, "
    "P parts a sample"
)
FIXED = frozenset("ndKWRSLP") | {"Lmax", "2"}
"""The quantities that batches of one size share; V and T come of the data."""


@dataclass(frozen=True)
class Formula:
    """A product of quantities over a product of quantities.

    Args:
        over: the numerator's factors.
        under: the denominator's factors.
    """

    over: tuple[str, ...] = ()
    under: tuple[str, ...] = ()

    def __str__(self) -> str:
        top, bottom = "·".join(self.over) or "1", "·".join(self.under)
        if not bottom:
            return top
        return f"{top}/({bottom})" if len(self.under) > 1 else f"{top}/{bottom}"

    @property
    def inverse(self) -> Formula:
        """One over this formula."""
        return Formula(self.under, self.over)

    @property
    def fixed(self) -> bool:
        """Whether its value is the same on all batches of one size."""
        return set(self.over) | set(self.under) <= FIXED

    def value(self, known: Mapping[str, float]) -> float:
        """Its value on a batch with these quantities; nan where one of them is not known."""
        top = math.prod(known.get(name, math.nan) for name in self.over)
        return top / math.prod(known.get(name, math.nan) for name in self.under)


def quantities(units: Units) -> dict[str, float]:
    """What the scales of conventions are made of on one batch, by the symbols of `LEGEND`."""
    per_sample = np.unique(units.sample_total()[units.data])
    found: dict[str, float] = {"n": units.n}
    if units.positions is not None:
        found["V"] = float(units.total()[0])
        found["T"] = float(units.total(units.positions)[0]) / units.n
    elif len(per_sample) == 1:
        found["d"] = float(per_sample[0])
    if units.max_elements is not None:
        found["Lmax"] = units.max_elements
    if units.microbatch is not None:
        found |= {"K": units.groups("microbatch"), "W": units.window}
    if units.rank is not None:
        found |= {"R": units.groups("rank"), "S": units.world_size}
    if units.expected_batch_size is not None:
        found["L"] = units.expected_batch_size
    if units.parts:
        found["P"] = len(units.parts)
    return {name: value for name, value in found.items() if value > 0}


def formula(batches: Sequence[tuple[float, Mapping[str, float]]]) -> Formula | None:
    """The simplest formula that gives the scale on every batch; None where there is none.

    Args:
        batches: scale and quantities of each batch.
    """
    if not batches:
        return None

    def fits(candidate: Formula) -> bool:
        # The last digits of a quotient of small whole numbers; nothing else is this close.
        return all(
            math.isclose(candidate.value({**known, "2": 2.0}), scale, rel_tol=1e-13)
            for scale, known in batches
        )

    return next((c for c in _candidates(list(batches[0][1])) if fits(c)), None)


def _candidates(names: list[str]) -> Iterator[Formula]:
    """Products and quotients of at most two quantities, one alone also with a factor 2."""
    yield Formula()
    yield from (Formula(("2",)), Formula((), ("2",)))
    for name in names:
        yield from (Formula((name,)), Formula((), (name,)))
    for name in names:
        for two in (("2",), ()):
            other = () if two else ("2",)
            yield from (Formula((*two, name), other), Formula(two, (*other, name)))
    for a, b in itertools.combinations(names, 2):
        yield from (Formula((a,), (b,)), Formula((b,), (a,)), Formula((a, b)), Formula((), (a, b)))
