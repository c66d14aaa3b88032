"""Recovery of an update that was recorded elsewhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from suite.algebra.units import Units
from suite.errors import UsageError, one_line
from suite.loops.loop import Losses
from suite.recovery.recorded import recorded_gradient
from suite.watch.factors import explained_update
from suite.watch.saved import loaded_model, read_step
from suite.watch.seen import SeenUpdate
from suite.watch.step_file import COLUMNS, StepFile
from suite.watch.table import measured, units_table
from suite.watch.update import AuditedUpdate


def recover_saved(
    path: Path, given: tuple[Any, Losses] | None, *, engine: str = "opacus", memory: int | None = None
) -> AuditedUpdate:
    """The recovery of an update in a file.

    Args:
        path: of the file, whose format is in docs/step-format.md.
        given: the model, or a function that makes it, and `losses(model, batch)`.
        engine: the engine that computes the units' gradients where each sample has one loss.
        memory: how many bytes the units' gradients may take; half of what is free if None.

    Raises:
        UsageError: The file does not hold what is needed, or another model's, or the losses do not fit.
        CaseError: The units' gradients cannot be computed.
    """
    step = read_step(path)
    if given is None:
        raise UsageError(
            f"{path} holds {len(step.calls)} micro-batches and the gradient of {len(step.gradient)} "
            "parameters: to recover, give --with a file that defines model and losses"
        )
    model, losses = given
    model = loaded_model(_made(model), step)
    microbatches = measured(model, step.calls, losses)
    settings = step.settings
    each = Counter(call.rank for call in step.calls)
    full = max(int(settings.get("full", 1)), *each.values())
    world = max(int(settings.get("world_size", 1)), len(each))
    longest = getattr(losses, "max_elements", None)
    units = units_table(microbatches, full=full, world_size=world, max_elements=longest)
    units = _with_columns(path, units, step)
    tried = recorded_gradient(model, microbatches, losses, step.gradient, units, engine=engine, memory=memory)
    found = explained_update(tried, SeenUpdate(step.gradient, list(step.calls)), settings.get("max_norm"))
    return replace(
        found, number=int(settings.get("update", 0)), microbatches=len(step.calls), full=full * world
    )


def _made(model: object) -> nn.Module:
    if not isinstance(model, nn.Module) and callable(model):
        try:
            model = model()
        except Exception as error:
            raise UsageError(f"model() failed: {one_line(error)}; it must make the model") from error
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"model is a {type(model).__name__}: it must be a torch.nn.Module, or a function that makes it"
        )
    return model


def _with_columns(path: Path, units: Units, step: StepFile) -> Units:
    """The table with the columns that the file states."""
    columns: dict[str, Any] = {
        name: column.numpy() if name == "rank" else column.double().numpy()
        for name, column in step.columns.items()
        if name in COLUMNS
    }
    for name, column in columns.items():
        if column.shape != (len(units),):
            raise UsageError(
                f"{path}: units/{name} is {list(column.shape)}, the losses have {len(units)} entries: one "
                "value for each is needed, micro-batch by micro-batch"
            )
    return replace(units, **columns)
