"""Losses that couple samples, steps that couple samples, and steps that minimise something else.

All three leave a gradient that is no weighting of the units. The losses are asked on pieces of the batch,
and the step on single samples: what couples comes out otherwise there, what is another function does not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from suite.algebra.units import Units
from suite.engines.per_sample_gradients import Checked
from suite.engines.unit_gradients import Materialised
from suite.errors import CaseError, UsageError
from suite.loops import batch as batches
from suite.loops.batch import Batch
from suite.recovery.calm import in_eval_mode
from suite.recovery.causes.cause import Cause, Trial, beneath
from suite.recovery.experiment import Experiment
from suite.recovery.reading import Cut, Reading, even, in_turn
from suite.recovery.solve import roots, solve, together
from suite.recovery.step import Blocks
from suite.recovery.unit_gradients import unit_gradients
from suite.recovery.wide import Problem

LOOKED_AT = 6  # samples that the step is run on alone
ADDED = 64  # the most of them whose gradients are added up


def coupled_losses(trial: Trial) -> Cause | None:
    """A sample's loss depends on which others are with it; the step may have taken it with fewer."""
    tried = trial.tried
    samples = batches.size(tried.batch)
    if tried.random or samples < 2 or tried.losses.pieces is not None:
        return None
    model = in_eval_mode(tried.model)
    whole, halved = (
        reading.numbers(model, tried.batch).reshape(samples, -1)
        for reading in (tried.losses, tried.losses.cut(even(samples, 1)[0]))
    )
    apart = (whole - halved).abs().sum(1)
    if float(apart.max()) <= tried.half_digits * float(whole.abs().max()):
        return None
    worst = int(apart.argmax())
    part = int((whole - halved)[worst].abs().argmax())
    fact = (
        f"a sample's loss depends on which others are with it (sample {worst}: "
        f"{float(whole[worst, part]):.4g} in the batch, {float(halved[worst, part]):.4g} in a part of it)"
    )
    for pieces in cuts(tried):
        found = read_in(tried, pieces)
        if found is None:
            continue
        own = replace(found, gradient=trial.gradient)
        weighting = own.weighting_of(own.root)
        if weighting.linear and not weighting.spans:
            sizes = sorted({len(rows) for rows in pieces})
            of = " or ".join(map(str, sizes))
            says = f"{fact}, and the step takes them in pieces of {of}: there it is a weighting of the units"
            return beneath("coupled losses", says, weighting)
    return Cause(
        "coupled losses",
        f"{fact}, and in no pieces that were tried is the step a weighting of them; losses of which each "
        "depends on its own sample alone would tell",
    )


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
    return _read(tried, tried.batch, tried.losses.cut(pieces))


def _read(tried: Experiment, batch: Batch, reading: Reading) -> Experiment | None:
    try:
        with tried.surroundings.kept():
            given = Problem(tried.model, batch, reading, tried.regulariser)
            found, wide = unit_gradients(given, tried.found.engine)
    except (UsageError, CaseError, RuntimeError, IndexError):
        return None
    if found.shape != tried.found.shape:
        return None
    return replace(tried, batch=batch, losses=reading, found=found, wide=wide)


def changed_inputs(trial: Trial) -> Cause | None:
    """The step changes its batch before it computes: of the batch as it leaves it, it is a weighting."""
    batch = trial.tried.changed_batch()
    found = None if batch is None else _read(trial.tried, batch, trial.tried.losses)
    if found is None:
        return None
    own = replace(found, gradient=trial.gradient)
    weighting = own.weighting_of(own.root)
    if not weighting.linear or weighting.spans:
        return None
    says = "the step changes its batch in place; of the samples as it leaves them it is a weighting"
    return beneath("changed inputs", says, weighting)


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
    if heard and max(heard.values()) <= tried.half_digits:
        where = f"each of {len(heard)} samples alone" if len(pieces[0]) == 1 else "each half of the batch"
        return Cause(
            "the step couples the samples",
            f"on {where} it is a weighting of the losses of that, on the batch it is none: what it minimises "
            "is no sum over samples",
        )
    return _adds_up(trial, heard) if len(pieces[0]) == 1 and samples <= ADDED else None


def _on(trial: Trial, pieces: list[list[int]]) -> list[Blocks] | None:
    """What the step leaves on each piece of the batch; None where it fails on one."""
    try:
        return [
            trial.tried.again(
                batch=batches.select(trial.tried.batch, torch.tensor(rows)), without=trial.without
            )
            for rows in pieces
        ]
    except UsageError:
        return None


def _apart(tried: Experiment, rows: list[int], left: Blocks) -> float | None:
    """How much of a gradient no weighting of these samples' units explains; None where it is zero."""
    units = np.flatnonzero(np.isin(tried.units.sample, rows) | ~tried.units.data)
    blocks = {name: block[torch.as_tensor(units)] for name, block in tried.blocks.items()}
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
    own = replace(tried, found=found, gradient=trial.gradient, units=units)
    vars(own)["precision"] = tried.precision  # the losses, which are others, cannot tell it
    weighting = own.weighting_of(own.root)
    if not weighting.linear or weighting.spans:
        return None
    worst = max(heard, key=lambda row: heard[row])
    says = (
        f"on sample {worst} alone {heard[worst]:.2%} of its gradient is no multiple of that of `losses`, and "
        "its own gradients of single samples add up to that of the batch: it minimises another function"
    )
    cause = beneath("`losses` is not what the step minimises", says, weighting)
    return cause if per_sample else replace(cause, weights=None)
