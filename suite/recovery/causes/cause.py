"""A cause, and a trial: the step under circumstances that an experiment chose."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from suite.loops.norms import norm_of_all
from suite.recovery.experiment import Experiment, Weighting
from suite.recovery.identify import Match
from suite.recovery.step import GradientByName

if TYPE_CHECKING:
    from suite.algebra.units import Column

SEEDS = (1, 2)
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Cause:
    """Something that was done to the gradient, and what is beneath it.

    Args:
        name: in two or three words.
        says: one sentence with its numbers.
        weights: `[units]` the weights beneath it, where they can be told, or None.
        convention: the name of the convention that those are, or None.
        scale: against that convention, or None.
    """

    name: str
    says: str
    weights: Column | None = None
    convention: str | None = None
    scale: float | None = None

    def and_(self, name: str, says: str) -> Cause:
        """This cause together with another, which leaves the same weights."""
        return replace(self, name=f"{self.name} and {name}", says=f"{self.says}; {says}")


@dataclass(frozen=True, eq=False)
class Trial:
    """The step with some layers switched off.

    Args:
        tried: the step as it is.
        without: the names of the switches that are off.
        gradient: what the step then leaves.
    """

    tried: Experiment
    without: tuple[str, ...]
    gradient: GradientByName

    @cached_property
    def as_is(self) -> Experiment:
        """The experiment with this gradient in the place of the step's."""
        return self.tried.with_gradient(self.gradient) if self.without else self.tried

    @cached_property
    def weighting(self) -> Weighting:
        """The weights behind the gradient."""
        return self.as_is.weighting_of(self.as_is.root)

    def held(self, column: Column, names: Sequence[str]) -> bool:
        """Whether the norm over these parameters stays, while that of `column`'s gradient moves."""
        if not self.tried.reruns:
            return False
        before, base = norm_of(self.gradient, names), norm_of(self.tried.reduce(column), names)
        for seed in SEEDS:
            gradient, weighted = self.tried.moved(seed, column, self.without)
            if weighted is None or before == 0.0 or base == 0.0:
                return False
            drift = abs(norm_of(gradient, names) / before - 1)
            expected = abs(norm_of(weighted, names) / base - 1)
            if drift <= 0.01 * expected:
                return True
        return False


Look = Callable[[Trial], Cause | None]
"""What was done to a weighting after the backward pass, if that explains the gradient of a trial."""


def beneath(name: str, says: str, found: Weighting) -> Cause:
    """A cause with the weights that were found beneath it."""
    first: Match | None = found.matches[0] if found.matches else None
    return Cause(
        name,
        says,
        found.shown,
        None if first is None else first.convention.name,
        None if first is None else first.scale,
    )


def attempt(experiment: Callable[[], T]) -> T | None:
    """What an experiment shows; None where the step or the losses fail in it."""
    try:
        with warnings.catch_warnings():  # the step has given its own already
            warnings.simplefilter("ignore")
            return experiment()
    except Exception:  # noqa: BLE001  anybody's losses on a part of their batch: it ends no report
        return None


def norm_of(gradient: GradientByName, names: Sequence[str] | None = None) -> float:
    """The norm over the parameters of these names; over all if None."""
    return norm_of_all(gradient[name] for name in (gradient if names is None else names))
