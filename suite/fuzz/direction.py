"""The worst direction: the batch on which two conventions differ most in what no learning rate repairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from suite.algebra.gram import inner, norm, unit_norms
from suite.conventions import Convention
from suite.errors import UsageError
from suite.fuzz.examples import Budget
from suite.fuzz.worst import worst
from suite.strategies import Example, examples

SMALL = ((2, 1, False), (2, 2, False), (1, 1, True), (2, 1, True), (2, 2, True), (3, 2, True))
"""The sizes that are looked at first: samples, parameters, and whether a table may hold extras."""


@dataclass(frozen=True)
class Worst:
    """A batch on which two conventions differ in direction.

    Args:
        a: one convention.
        b: the other one.
        example: the batch.
        cosine: of the angle between their gradients.
        beyond: the part of `a`'s gradient that no learning rate (a positive number) turns into `b`'s.
    """

    a: Convention
    b: Convention
    example: Example
    cosine: float
    beyond: float

    @property
    def gradients(self) -> tuple[list[float], list[float]]:
        """The two gradients."""
        first, second = (
            (convention.coefficients(self.example.units, self.example.gram) @ self.example.rows).tolist()
            for convention in (self.a, self.b)
        )
        return first, second

    @property
    def python(self) -> str:
        """A runnable snippet that shows it."""
        return f"""\
from suite import Units
from suite.conventions import conventions
from suite.strategies import Example

example = {self.example.python}
print(example.units.frame)
print("gradients of the units:", example.rows.tolist())
for name in ({self.a.name!r}, {self.b.name!r}):
    weights = conventions[name].coefficients(example.units, example.gram)
    print(name, "weighs them", weights, "and steps along", -weights @ example.rows)
"""


def worst_direction(
    a: Convention,
    b: Convention,
    budget: Budget,
    *,
    seed: int = 0,
    folder: Path | None = None,
) -> Worst | None:
    """The least batch on which the gradients of two conventions point as far apart as they can.

    Args:
        a: one convention.
        b: the other one.
        budget: how long to climb.
        seed: of the search.
        folder: where examples are kept.

    Returns:
        The batch, or None where the two never differ in direction.

    Raises:
        UsageError: There is no batch to which both apply.
    """
    needs = tuple(dict.fromkeys((*a.needs, *b.needs)))
    if {"terms", "copies"} <= set(needs):
        raise UsageError(
            f"{a.name!r} is about loss terms and {b.name!r} about augmented copies: no batch has both"
        )
    found = worst(
        lambda example: beyond(a, b, example)[1],
        examples(needs, empty=False),
        [
            examples(needs, min_samples=n, max_samples=n, max_params=params, empty=False, extras=extras)
            for n, params, extras in SMALL
        ],
        budget,
        seed=seed,
        folder=folder,
        name=f"direction {a.name} {b.name}",
    )
    if found is None:
        return None
    return Worst(a, b, found[0], *beyond(a, b, found[0]))


def beyond(a: Convention, b: Convention, example: Example) -> tuple[float, float]:
    """Cosine, and the part of `a`'s gradient that no positive multiple of `b`'s is: `√(1 − max(cos, 0)²)`.

    Both are 1 and 0 where a gradient is zero, or where the two are proportional up to rounding.
    """
    first, second = (c.coefficients(example.units, example.gram) for c in (a, b))
    sizes = norm(example.gram, first) * norm(example.gram, second)
    norms = unit_norms(example.gram)
    largest = float((np.abs(first) @ norms) * (np.abs(second) @ norms))
    if sizes <= 1e-6 * largest or sizes == 0.0:  # they cancel: their direction is rounding
        return 1.0, 0.0
    cosine = float(np.clip(inner(example.gram, first, second) / sizes, -1.0, 1.0))
    part = float(np.sqrt(1 - max(cosine, 0.0) ** 2))
    return cosine, part if part > 1e-6 else 0.0
