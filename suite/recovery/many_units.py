"""How many units' weights are solved for one by one; beyond, groups of them are."""

from __future__ import annotations

import torch

from suite.algebra.units import Units
from suite.errors import CaseError
from suite.machine.memory import format_bytes, free_bytes
from suite.machine.stages import begins
from suite.recovery.attempt import Attempt
from suite.recovery.in_groups import proven_in_groups
from suite.recovery.on_few import Proven
from suite.recovery.planner import proven
from suite.recovery.unit_gradients import SQUARE_MATRICES, memory_for_all

MOST_UNITS = 1 << 14
"""Beyond, N³ operations are minutes: more units are solved for one by one only where memory is given."""


def most_units(memory: int | None) -> int:
    """How many weights may be solved for one by one.

    Args:
        memory: how many bytes their matrices may take; half of what is free if None.
    """
    allowed = free_bytes(torch.device("cpu")) // 2 if memory is None else memory
    fitting = int((allowed / (SQUARE_MATRICES * 8)) ** 0.5)
    return min(fitting, MOST_UNITS) if memory is None else fitting


def weights_of(attempt: Attempt, units: Units, memory: int | None) -> Proven | None:
    """The weights, each unit's own or those of a formula in groups; None where they cannot be had so."""
    most = most_units(memory)
    if attempt.units > most:
        begins(f"the weights of {attempt.units} units in groups: more than {most} are not solved for singly")
        return proven_in_groups(attempt, units, most)
    begins(f"the weights of {_cost(attempt.units)}")
    formable = memory_for_all(attempt.given.model, len(units), memory) is None
    found = proven(attempt, formable=formable)
    return found if found is not None or formable else proven_in_groups(attempt, units, most)


def require_square_matrices(units: int, memory: int | None, *, grouped: bool = True) -> None:
    """Make sure that matrices of units × units may be made.

    Args:
        units: how many there are.
        memory: how many bytes there are; half of what is free if None.
        grouped: whether groups were tried; a clip threshold or random losses leave no way to.

    Raises:
        CaseError: They may not.
    """
    most = most_units(memory)
    if units > most:
        tried = ", and no formula within groups has this gradient" if grouped else ""
        raise CaseError(
            f"the weights of {_cost(units)}, where {most} units are allowed{tried}: allow more "
            "(--memory, memory=), say which micro-batch and rank each sample is in (units=), or give losses "
            "of fewer units, such as sums over the tokens of a sequence"
        )


def _cost(units: int) -> str:
    needed = format_bytes(SQUARE_MATRICES * 8 * units**2)
    return f"{units} units take {units}³ operations and matrices of {needed}"
