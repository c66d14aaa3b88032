"""What is found of a step: the weights of its units, and what can be said of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from suite.algebra.formula import Formula
from suite.algebra.units import Column, Units
from suite.conventions import Convention
from suite.recovery.causes import Cause
from suite.recovery.explanation import Explanation
from suite.recovery.solve import Group
from suite.recovery.suspects import Suspect


@dataclass(frozen=True, eq=False)
class Findings:
    """The weights behind a gradient, and what can be said of them.

    Args:
        units: the units table.
        weights: `[units]` the weight of each unit; nan where it cannot be told.
        error: `[units]` a bound of each weight's error; infinite where it cannot be told.
        identifiable: `[units]` whether the weight can be told from this batch.
        groups: units whose gradients are multiples of each other, with the sum that can be told.
        silent: the units whose gradient is zero.
        residual: the norm of what no weighting of the units explains, relative to the gradient.
        tolerance: what rounding may leave of it.
        rounding: the narrow formats that the step computes in, where they show; empty where they do not.
        norm: the norm of the gradient.
        condition: by how much the units' gradients, brought to length one, magnify an error at most.
        linear: whether the gradient is a weighting of the units, up to rounding.
        spans: whether the units' gradients span all directions, so that any gradient is a weighting.
        convention: the registered convention whose coefficients these are, times `scale`, or None.
        scale: the gradient over the convention's; None where there is no convention.
        also: the names of the other conventions that give this very gradient on this batch.
        tells: for each of these, what a batch must be like to tell it from `convention`, or None.
        products: the formulas of all these conventions, in the quantities of this batch.
        unresolved: the names of those that give another one, but not beyond the rounding of the step.
        fault: the known mistake that left these weights, where nothing innocent leaves them, or None.
        suspects: known mistakes that leave the weights of an innocent loop on this batch.
        explanation: the weights as formulas.
        cause: what was done to the gradient besides weighting, where that can be told, or None.
        engine: the engine that computed the units' gradients; empty where `solved_on` says on what they are.
        drawn: whether the losses draw random numbers, so that step and losses were given the same.
        restored: what the step and the losses changed and was put back after each run, by name.
        solved_on: the parameters that the weights were solved on, then proven on all; empty where on all.
        within: the groups (`sample`, `micro-batch`, …) in which a formula gives the weights, where units
            are too many to be solved for one by one; empty where they are not.
    """

    units: Units
    weights: Column
    error: Column
    identifiable: NDArray[np.bool_]
    groups: tuple[Group, ...]
    silent: tuple[int, ...]
    residual: float
    tolerance: float
    rounding: str
    norm: float
    condition: float
    linear: bool
    spans: bool
    convention: Convention | None
    scale: float | None
    also: tuple[str, ...]
    tells: tuple[str | None, ...]
    products: tuple[Formula, ...]
    unresolved: tuple[str, ...]
    fault: Convention | None
    suspects: tuple[Suspect, ...]
    explanation: Explanation
    cause: Cause | None
    engine: str
    drawn: bool = False
    restored: tuple[str, ...] = ()
    solved_on: tuple[str, ...] = ()
    within: str = ""

    @property
    def formula(self) -> Formula | None:
        """The plainest formula that gives these weights; None where there is none."""
        return self.formulas[0] if self.formulas else None

    @property
    def formulas(self) -> tuple[Formula, ...]:
        """All formulas that give the same numbers on this batch, the plainest first."""
        return self.explanation.formulas

    @property
    def names(self) -> tuple[str, ...]:
        """All conventions that give this gradient on this batch, as it is or times `scale`."""
        return () if self.convention is None else (self.convention.name, *self.also)
