"""What an engine costs, as a multiple of one ordinary forward and backward pass of the same batch."""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from suite.algebra.gram import Gram
from suite.algebra.units import Column
from suite.engines.engine import Engine
from suite.engines.memory_plan import MemoryPlan
from suite.engines.unit_gradients import UnitGradients
from suite.loops.batch import Batch
from suite.loops.loop import Losses
from suite.machine import buffers

Columns = Callable[[Gram], list[Column]]
Action = Callable[[], object]


@dataclass(frozen=True)
class Cost:
    """What an engine costs for one batch.

    Args:
        ordinary: seconds of one forward and backward pass of the mean loss.
        tables: the Gram matrix and the conventions' coefficients, as a multiple of that.
        reduced: the same and every convention's reduced gradient, as a multiple of that.
        tables_checked: as `tables`, as a user has them: sizes and check included.
        reduced_checked: as `reduced`, the same way.
        peak: bytes in use at most above what was in use before; None where that cannot be measured.
        ordinary_peak: the same of the ordinary pass.
    """

    ordinary: float
    tables: float
    reduced: float
    tables_checked: float
    reduced_checked: float
    peak: int | None
    ordinary_peak: int | None


def measure_cost(
    engine: Engine | MemoryPlan,
    model: nn.Module,
    batch: Batch,
    losses: Losses,
    columns: Columns,
    checked: Callable[[], UnitGradients],
    *,
    rounds: int = 7,
) -> Cost:
    """Measure `engine`, in turn with the ordinary pass so that the ratios hold on a noisy machine.

    Args:
        engine: is not checked here; as it is, or arranged for the memory that there is.
        model: parameters keep their values; an engine may leave hooks in it.
        batch: of samples along the first axis.
        losses: the unreduced losses.
        columns: the coefficients of the conventions, given the Gram matrix.
        checked: the same gradients, as a user has them.
        rounds: the medians are over so many.

    Raises:
        Refused: The engine cannot do this model.
    """
    device = next(model.parameters()).device

    def ordinary() -> None:
        model.zero_grad()
        losses(model, batch).mean().backward()

    def alone() -> UnitGradients:
        return engine.compute(model, batch, losses)

    def tables(compute: Callable[[], UnitGradients]) -> object:
        return columns(compute().gram())

    def reduced(compute: Callable[[], UnitGradients]) -> object:
        found = compute()
        return found.directions(np.stack(columns(found.gram())))

    actions: dict[str, Action] = {
        "tables": lambda: tables(alone),
        "reduced": lambda: reduced(alone),
        "tables_checked": lambda: tables(checked),
        "reduced_checked": lambda: reduced(checked),
    }
    multiples: dict[str, list[float]] = {name: [] for name in actions}
    spent = []
    for name, ratios in multiples.items():
        action = actions[name]
        action()
        ordinary()
        for _ in range(rounds):
            before, between, after = (seconds(a, device) for a in (ordinary, action, ordinary))
            spent += [before, after]
            ratios.append(2 * between / (before + after))
    return Cost(
        ordinary=statistics.median(spent),
        peak=peak(actions["reduced"], device),
        ordinary_peak=peak(ordinary, device),
        **{name: statistics.median(ratios) for name, ratios in multiples.items()},
    )


def seconds(action: Action, device: torch.device) -> float:
    """How long `action` takes: by the device's own events on CUDA, by the clock elsewhere."""
    if device.type == "cuda":  # uncovered: needs a CUDA device
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        with torch.cuda.device(device):  # an event belongs to the device on which it is recorded
            begin.record()
            action()
            end.record()
        torch.cuda.synchronize(device)
        return float(begin.elapsed_time(end)) / 1e3
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def peak(action: Action, device: torch.device) -> int | None:
    """Bytes in use at most during `action`, above those in use before it; None where nobody counts them."""
    if device.type == "cuda":  # uncovered: needs a CUDA device
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        action()
        return int(torch.cuda.max_memory_allocated(device)) - before
    try:
        # Freed memory that the allocator holds back would hide what the action takes.
        buffers.release()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        resident = _status("VmRSS")
        action()
        return max(0, _status("VmHWM") - resident)
    except (OSError, AttributeError, KeyError):  # uncovered: only Linux has /proc and glibc
        return None


def _status(field: str) -> int:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) * 1024
