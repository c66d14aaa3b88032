"""An experiment whose weights are solved for without units × parameters, where these are not few."""

from __future__ import annotations

from dataclasses import replace

from suite.algebra.units import Units
from suite.recovery.attempt import Attempt
from suite.recovery.eval_copy import in_eval_mode
from suite.recovery.experiment import Experiment
from suite.recovery.first_reading import FirstReading
from suite.recovery.in_float64 import UnitProblem
from suite.recovery.many_units import most_units, require_square_matrices, weights_of

FORMED = 1 << 20
"""Up to so many numbers, units × parameters, all gradients are formed."""


def asks_for_it(first: FirstReading, parameters: int, units: Units | None, memory: int | None) -> bool:
    """Whether units or their gradients are many numbers, and nothing needs their norms.

    Args:
        first: what the losses were like.
        parameters: how many numbers are trained.
        units: the units table, if there is one: a clip threshold in it asks for norms.
        memory: how many bytes may be taken; half of what is free if None.
    """
    count = first.entries.numel()
    clipped = units is not None and units.max_norm is not None
    many = count * parameters > FORMED or count > most_units(memory)
    return first.plain and not clipped and many


def on_few(tried: Experiment, first: FirstReading) -> Experiment | None:
    """The experiment with weights that are proven; None where they cannot be had so.

    Raises:
        CaseError: The units are too many for matrices of units × units, and no formula in groups explains
            the gradient.
    """
    units = first.entries.numel()
    with tried.surroundings.kept():
        model = in_eval_mode(tried.model, shared=True)
        given = UnitProblem(model, tried.batch, tried.losses, tried.regulariser)
        attempt = Attempt(given, first.entries, first.saved or 0, tried.gradient)
        found = weights_of(attempt, tried.units, tried.memory)
    if found is None:
        require_square_matrices(units, tried.memory)
    return None if found is None else replace(tried, few=found)
