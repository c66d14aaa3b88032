"""The gradients of the units that a step is held against."""

from __future__ import annotations

import torch
from torch import nn

from suite.engines.per_sample_gradients import Checked, per_sample_gradients
from suite.errors import CaseError
from suite.loops.batch import Batch
from suite.loops.loop import Losses
from suite.machine.cuda import devices_of
from suite.machine.memory import format_bytes, free_bytes
from suite.machine.stages import begins
from suite.recovery.eval_copy import in_eval_mode
from suite.recovery.formats import Watch, is_narrow
from suite.recovery.in_float64 import UnitProblem, problem

SQUARE_MATRICES = 3
"""How many matrices of units × units, in float64, are held at a time."""


def unit_gradients(given: UnitProblem, engine: str, memory: int | None = None) -> tuple[Checked, bool]:
    """The units' gradients, in float64 where the losses round to narrow formats; and whether they are.

    Losses that cannot be computed in float64 (a kernel that has none) are taken as they are.

    Raises:
        UsageError: The losses are not `[samples]` or `[samples, parts]`.
        CaseError: No engine computes the units' gradients rightly.
    """
    if rounds(given.model, given.batch, given.losses):
        exact = problem(*given, wide=True)
        try:
            return _computed(exact, engine, memory), True
        except (CaseError, RuntimeError, TypeError):
            pass
    return _computed(problem(*given, wide=False), engine, memory), False


def _computed(given: UnitProblem, engine: str, memory: int | None) -> Checked:
    begins(f"the gradients of all units, by the engine {engine} or the next")
    return per_sample_gradients(
        given.model, given.batch, given.losses, engine=engine, regulariser=given.regulariser, memory=memory
    )


def require_memory_for_all(model: nn.Module, units: int, memory: int | None) -> None:
    """Make sure that the gradients of all units can be held, before any is computed.

    Args:
        model: whose parameters are differentiated by.
        units: how many there are.
        memory: how many bytes there are; half of what is free if None.

    Raises:
        CaseError: They cannot.
    """
    too_much = memory_for_all(model, units, memory)
    if too_much is not None:
        needed, allowed = map(format_bytes, too_much)
        raise CaseError(
            f"no few parameters prove weights of these {units} units, and all their gradients take "
            f"{needed}, where {allowed} are allowed: allow more (--memory, "
            "memory=), or give losses of fewer units, such as sums over the tokens of a sequence"
        )


def memory_for_all(model: nn.Module, units: int, memory: int | None) -> tuple[int, int] | None:
    """How many bytes the gradients of all units take and may take; None where they fit."""
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        return None
    allowed = free_bytes(trained[0].device) // 2 if memory is None else memory
    needed = units * sum(p.numel() * p.itemsize for p in trained) + SQUARE_MATRICES * 8 * units**2
    return (needed, allowed) if needed > allowed else None


def mixes_formats(model: nn.Module) -> bool:
    """Whether a model holds numbers of fewer digits than float32 has, or trains some in many formats."""
    held = {t.dtype for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()}
    trained = {p.dtype for p in model.parameters() if p.requires_grad}
    return len(trained) > 1 or any(is_narrow(dtype) for dtype in held)


def rounds(model: nn.Module, batch: Batch, losses: Losses) -> bool:
    """Whether the losses compute with fewer digits than float32 has, in part at least, or in many formats."""
    if mixes_formats(model):
        return True
    with torch.random.fork_rng(devices=devices_of(model)), torch.enable_grad(), Watch() as watch:
        try:
            losses(in_eval_mode(model), batch)
        except (Exception, SystemExit):  # noqa: BLE001  whoever computes the gradients says what is wrong with them
            return False
    return watch.seen.tf32 or any(is_narrow(dtype) for dtype in watch.seen.dtypes)
