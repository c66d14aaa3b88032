"""The step on single samples: steps that couple samples, and steps that minimise something else.

Both leave a gradient that is no weighting of the units. On single samples a step that couples them is a
weighting of each one's losses; one that computes something else is none there either.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from suite.algebra.units import Units
from suite.engines.per_sample_gradients import Checked
from suite.engines.unit_gradients import Materialised
from suite.errors import UsageError
from suite.loops import batch as batches
from suite.loops.norms import square
from suite.recovery.causes.cause import Cause, Trial, beneath
from suite.recovery.experiment import Experiment
from suite.recovery.formats import SINGLE
from suite.recovery.losses import even
from suite.recovery.solve import roots, solve, together
from suite.recovery.step import GradientByName

LOOKED_AT = 6  # samples that the step is run on alone
ADDED = 64  # the most of them whose gradients are added up
SYMMETRY_PAIRS = 3  # of directions in which a derivative is asked whether it is symmetric


def other_function(trial: Trial) -> Cause | None:
    """The step on single samples: a weighting there, it couples them; none, it minimises something else."""
    tried = trial.tried
    samples = batches.size(tried.batch)
    if tried.random or samples < 2:
        return None
    looked_at = sorted({int(row) for row in np.linspace(0, samples - 1, min(samples, LOOKED_AT))})
    pieces = [[row] for row in looked_at]
    alone = _on(trial, pieces)
    if alone is None:  # it needs more than one
        pieces = [list(rows) for rows in even(samples, 1)[0]]
        alone = _on(trial, pieces)
    if alone is None or len(pieces) < 2:
        return None
    apart = {rows[0]: _apart(tried, rows, left) for rows, left in zip(pieces, alone, strict=True)}
    heard = {row: far for row, far in apart.items() if far is not None}
    if len(pieces[0]) == 1 and not heard and _silent_alone(trial, alone):
        return Cause(
            "the step couples the samples",
            "on any sample alone its gradient is zero, on the batch it is not: what it minimises is no sum "
            "over samples",
        )
    if heard and max(heard.values()) <= tried.half_digits:
        where = f"each of {len(heard)} samples alone" if len(pieces[0]) == 1 else "each half of the batch"
        return Cause(
            "the step couples the samples",
            f"on {where} it is a weighting of the losses of that, on the batch it is none: what it minimises "
            "is no sum over samples",
        )
    if len(pieces[0]) > 1 and heard and min(heard.values()) > tried.half_digits:
        return Cause(
            "coupled samples or another function",
            "the step takes no single sample, and on each half of the batch it is no weighting of the losses "
            "either: it couples the samples, or minimises something else than `losses`",
        )
    return _adds_up(trial, heard) if len(pieces[0]) == 1 and samples <= ADDED else None


def _silent_alone(trial: Trial, alone: list[GradientByName]) -> bool:
    """Whether the step leaves nothing on each sample alone: first asked of those that were run already."""
    tried, samples = trial.tried, batches.size(trial.tried.batch)
    if samples > ADDED:
        return False
    silent = _is_silent(tried, alone)
    every = _on(trial, [[row] for row in range(samples)]) if silent else None
    return every is not None and _is_silent(tried, every)


def _is_silent(tried: Experiment, gradients: list[GradientByName]) -> bool:
    largest = max(sum(float(square(g)) for g in each.values()) for each in gradients)
    return bool(largest**0.5 <= tried.precision * tried.size)


def _on(trial: Trial, pieces: list[list[int]]) -> list[GradientByName] | None:
    """What the step leaves on each piece of the batch; None where it fails on one."""
    try:
        return [
            trial.tried.again(
                batch=batches.select(trial.tried.batch, torch.tensor(rows, device="cpu")),
                without=trial.without,
            )
            for rows in pieces
        ]
    except UsageError:
        return None


def _apart(tried: Experiment, rows: list[int], left: GradientByName) -> float | None:
    """How much of a gradient no weighting of these samples' units explains; None where it is zero."""
    units = np.flatnonzero(np.isin(tried.units.sample, rows) | ~tried.units.data)
    blocks = {name: block[torch.from_numpy(units)] for name, block in tried.blocks.items()}
    root = together(roots(blocks, [left]))
    solution = solve(root.gradients, root.side, tried.precision)
    if solution.size <= tried.precision * tried.size or solution.rank == len(root.r):
        return None  # nothing, or nothing that could fail
    return 0.0 if tried.is_linear(solution, root.norms) else solution.residual / solution.size


def _adds_up(trial: Trial, heard: dict[int, float]) -> Cause | None:
    """Whether the step's own gradients of single samples add up to that of the batch."""
    tried, samples = trial.tried, batches.size(trial.tried.batch)
    alone = _on(trial, [[row] for row in range(samples)])
    if alone is None or not heard:
        return None
    blocks: dict[str, Tensor] = {name: torch.stack([left[name] for left in alone]) for name in tried.gradient}
    found = Checked(Materialised(blocks), tried.found.engine, {}, tried.found.size)
    per_sample = len(tried.units) == samples
    units = tried.units if per_sample else Units.of(samples)
    own = replace(tried, computed=(found, tried.wide), gradient=trial.gradient, units=units, few=None)
    vars(own)["precision"] = tried.precision  # the losses, which are others, cannot tell it
    weighting = own.weighting_of(own.root)
    worst = max(heard, key=lambda row: heard[row])
    fact = (
        f"on sample {worst} alone {heard[worst]:.2%} of its gradient is no multiple of that of `losses`, and "
        "its own gradients of single samples"
    )
    if weighting.spans or heard[worst] <= tried.half_digits:
        return None
    if not weighting.linear:
        return Cause(
            "neither `losses` nor a sum over samples",
            f"{fact} do not add up to that of the batch: it minimises another function, which couples the "
            "samples, or changes gradients in the backward pass or after it by what they are",
        )
    fact += " add up to that of the batch"
    decided = _of_a_function(trial, worst)
    name, more = VERDICTS[decided]
    if decided is None and tried.epsilon >= SINGLE:
        more += "; a batch in float64 may tell"
    cause = beneath(name, f"{fact}: {more}", weighting)
    return cause if per_sample else replace(cause, weights=None)


VERDICTS = {
    True: ("`losses` is not what the step minimises", "it minimises another function"),
    False: (
        "the gradient of no function",
        "it minimises nothing; a part of the loss is detached, or gradients are changed after the backward "
        "pass (centred, masked, preconditioned)",
    ),
    None: (
        "not the gradient of `losses`",
        "it minimises another function, or changes gradients after the backward pass",
    ),
}
"""By whether the step's gradient is that of a function: the name, and what follows."""


def _of_a_function(trial: Trial, row: int) -> bool | None:
    """Whether the step's gradient of one sample is that of a function; None where that cannot be told.

    It is where its derivative, the Hessian, is symmetric: `u·H v = v·H u`, by central differences.
    """
    tried = trial.tried
    sample = batches.select(tried.batch, torch.tensor([row], device="cpu"))
    far = 1e-4 if tried.epsilon < 1e-10 else 1e-2

    def slope(direction: GradientByName) -> GradientByName:
        ends = []
        for sign in (1.0, -1.0):
            with tried.displaced(direction, sign * far):
                ends.append(tried.called(trial.without, sample))
        return {name: (ends[0][name].double() - ends[1][name].double()) / (2 * far) for name in ends[0]}

    apart, whole, noise = 0.0, 0.0, 0.0
    try:
        for seed in range(0, 2 * SYMMETRY_PAIRS, 2):
            u, v = tried.direction(seed), tried.direction(seed + 1)
            ahead, back = _inner(u, slope(v)), _inner(v, slope(u))
            apart, whole = apart + abs(ahead - back), whole + abs(ahead) + abs(back)
            noise += tried.epsilon * tried.size * (_inner(u, u) + _inner(v, v)) ** 0.5 / far
    except UsageError:
        return None
    if whole <= 100 * noise:
        return None
    return True if apart <= 0.01 * whole else False if apart >= 0.1 * whole else None


def _inner(a: GradientByName, b: GradientByName) -> float:
    return sum(float((a[name].double() * b[name].double()).sum()) for name in b)
