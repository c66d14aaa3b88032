"""A scale as a formula: 32 is `n` where the batch has 32 samples, 0.1 is `1/d` with ten outputs.

Numbers that happen to agree on one batch (n = K = 4) are told apart by the other batches: each batch
names all formulas that fit, and those that fit on every batch remain.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from suite.units import Units


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
        top = "·".join(self.over) or "1"
        bottom = "·".join(self.under)
        if not bottom:
            return top
        return f"{top}/({bottom})" if len(self.under) > 1 else f"{top}/{bottom}"

    @property
    def inverse(self) -> Formula:
        """One over this formula."""
        return Formula(self.under, self.over)


def quantities(units: Units) -> dict[str, float]:
    """What the scales of conventions are made of on one batch.

    `n` samples, `d` elements a unit (where all have the same number), `K` micro-batches of a window
    of `W`, `R` ranks of `S`, `L` the expected batch size, `P` parts.
    """
    elements = np.unique(units.elements[units.data])
    found: dict[str, float] = {"2": 2.0, "n": units.n}
    if len(elements) == 1:
        found["d"] = float(elements[0])
    if units.microbatch is not None:
        found |= {"K": units.groups("microbatch"), "W": units.window}
    if units.rank is not None:
        found |= {"R": units.groups("rank"), "S": units.world_size}
    if units.expected_batch_size is not None:
        found["L"] = units.expected_batch_size
    if units.parts:
        found["P"] = len(units.parts)
    return found


def fitting(scale: float, known: dict[str, float]) -> list[Formula]:
    """All formulas of at most two quantities, and a factor 2, that give `scale`; the simplest first."""
    names = [name for name in known if name != "2"]
    fits = []
    for factors in [(), *itertools.combinations(names, 1), *itertools.combinations(names, 2)]:
        for factor, signs in itertools.product(
            (0, -1, 1), itertools.product((1, -1), repeat=len(factors))
        ):
            formula = _formula(factors, signs, factor)
            value = math.prod(known[name] for name in formula.over)
            value /= math.prod(known[name] for name in formula.under)
            # The last digits of a quotient of small whole numbers; nothing else is this close.
            if math.isclose(value, scale, rel_tol=1e-13):
                fits.append(formula)
    return sorted(fits, key=lambda f: len(f.over) + len(f.under))


def _formula(factors: tuple[str, ...], signs: tuple[int, ...], two: int) -> Formula:
    signed = [*zip(factors, signs, strict=True), *([("2", two)] if two else [])]
    return Formula(
        tuple(sorted(name for name, sign in signed if sign > 0)),
        tuple(sorted(name for name, sign in signed if sign < 0)),
    )
