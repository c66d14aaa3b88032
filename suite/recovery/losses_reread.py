"""The losses of an experiment read otherwise: in pieces, or of the batch as the step leaves it."""

from __future__ import annotations

from dataclasses import replace

from suite.errors import CaseError, UsageError
from suite.loops.batch import Batch
from suite.recovery.experiment import Experiment
from suite.recovery.in_float64 import UnitProblem
from suite.recovery.losses import Cut, Reading, even, in_turn
from suite.recovery.unit_gradients import unit_gradients


def cuts(tried: Experiment) -> list[Cut]:
    """How a step may have cut the batch: as the units table says, or else evenly."""
    units = tried.units
    known = [
        in_turn(column[units.data].reshape(units.n, -1)[:, 0].tolist())
        for column in (getattr(units, name, None) for name in ("microbatch", "rank"))
        if column is not None
    ]
    known = [pieces for pieces in known if len(pieces) > 1]
    return known or even(units.n)


def read_in(tried: Experiment, pieces: Cut) -> Experiment | None:
    """The experiment with the losses read in pieces; None where they cannot be."""
    return read_of(tried, tried.batch, tried.losses.cut(pieces))


def read_of(tried: Experiment, batch: Batch, reading: Reading) -> Experiment | None:
    """The experiment with other samples or another reading; None where the losses cannot be read so."""
    try:
        with tried.surroundings.kept():
            given = UnitProblem(tried.model, batch, reading, tried.regulariser)
            found, wide = unit_gradients(given, tried.engine_used or tried.engine)
    except (UsageError, CaseError, RuntimeError, IndexError):
        return None
    if found.shape[0] != len(tried.units):
        return None
    return replace(tried, batch=batch, losses=reading, computed=(found, wide), few=None)
