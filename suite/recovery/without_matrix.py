"""An experiment whose weights are solved for without units × parameters, where these are not few."""

from __future__ import annotations

from dataclasses import replace

import torch

from suite.algebra.units import Units
from suite.errors import CaseError
from suite.machine.memory import format_bytes, free_bytes
from suite.recovery.eval_copy import in_eval_mode
from suite.recovery.experiment import Experiment
from suite.recovery.first_reading import FirstReading
from suite.recovery.in_float64 import UnitProblem
from suite.recovery.planner import Attempt, proven
from suite.recovery.unit_gradients import SQUARE_MATRICES

FORMED = 1 << 20
"""Up to so many numbers, units × parameters, all gradients are formed."""


def asks_for_it(first: FirstReading, parameters: int, units: Units | None) -> bool:
    """Whether the gradients of all units are many numbers, and nothing needs their norms.

    Args:
        first: what the losses were like.
        parameters: how many numbers are trained.
        units: the units table, if there is one: a clip threshold in it asks for norms.
    """
    clipped = units is not None and units.max_norm is not None
    return first.plain and not clipped and first.entries.numel() * parameters > FORMED


def on_few(tried: Experiment, first: FirstReading) -> Experiment | None:
    """The experiment with weights that are proven; None where they cannot be had so.

    Raises:
        CaseError: Not even a matrix of units × units fits into the memory.
    """
    _require_memory(first.entries.numel(), tried.memory)
    with tried.surroundings.kept():
        model = in_eval_mode(tried.model, shared=True)
        given = UnitProblem(model, tried.batch, tried.losses, tried.regulariser)
        found = proven(Attempt(given, first.entries, first.saved or 0, tried.gradient))
    return None if found is None else replace(tried, few=found)


def _require_memory(units: int, memory: int | None) -> None:
    allowed = free_bytes(torch.device("cpu")) // 2 if memory is None else memory
    needed = SQUARE_MATRICES * 8 * units**2
    if needed > allowed:
        raise CaseError(
            f"the weights of {units} units take matrices of {format_bytes(needed)}, where "
            f"{format_bytes(allowed)} are allowed: allow more (--memory, memory=), or give losses of fewer "
            "units, such as sums over the tokens of a sequence"
        )
