"""Losses that couple samples, and steps that change their samples before they compute.

The losses are read otherwise, in pieces of the batch or of the batch as the step leaves it: where the step
is a weighting of what they then are, that is what it computes.
"""

from __future__ import annotations

from suite.loops import batch as batches
from suite.recovery.causes.cause import Cause, Trial, beneath
from suite.recovery.eval_copy import in_eval_mode
from suite.recovery.losses import even
from suite.recovery.losses_reread import cuts, read_in, read_of


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
        own = found.with_gradient(trial.gradient)
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


def changed_inputs(trial: Trial) -> Cause | None:
    """The step changes its batch before it computes: of the batch as it leaves it, it is a weighting."""
    batch = trial.tried.changed_batch()
    found = None if batch is None else read_of(trial.tried, batch, trial.tried.losses)
    if found is None:
        return None
    own = found.with_gradient(trial.gradient)
    weighting = own.weighting_of(own.root)
    if not weighting.linear or weighting.spans:
        return None
    says = "the step changes its batch in place; of the samples as it leaves them it is a weighting"
    return beneath("changed inputs", says, weighting)
