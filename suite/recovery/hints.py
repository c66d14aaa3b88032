"""What weights that no formula gives go with: the labels of the batch, or the losses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from suite.algebra.units import Column, Units
from suite.recovery.label_weights import explaining

RISING = 5  # weights that rise with the losses without exception: one chance in 5! otherwise


def hints(weights: Column, error: Column, units: Units, batch: Any, losses: Column) -> Iterator[str]:
    """Sentences on what the weights go with.

    Args:
        weights: `[units]`, nan where they cannot be told.
        error: `[units]` their bounds.
        units: the units table.
        batch: the samples.
        losses: `[units]` their losses.
    """
    told = np.isfinite(weights) & units.data
    if len(units) != units.n + int((~units.data).sum()) or told.sum() < 3:
        return
    known, slack = weights[told], np.nan_to_num(error[told])
    apart = slack.max() + 1e-9 * np.abs(known).max()
    if np.ptp(known) <= 2 * apart:
        return
    labels = next(explaining(weights, error, units, batch), None)
    if labels is not None:
        yield (
            f"Samples of one value of {labels.name} have one weight: if these are class weights, "
            "say so in the column 'weight'."
        )
        return
    heard = np.abs(known) > apart
    count = int(heard.sum())
    if 0 < count < len(known) and np.ptp(known[heard]) <= 2 * apart:
        least, most = losses[told][heard].min(), losses[told][~heard].max()
        if least > most:
            yield (
                f"Only the {count} largest losses have a weight, {known[heard].mean():.6g}: hard examples "
                "are chosen."
            )
            return
    order = np.argsort(losses[told], kind="stable")
    rises = np.diff(known[order])
    if len(known) >= RISING and ((rises > apart).all() or (rises < -apart).all()):
        larger = "larger" if rises[0] > 0 else "smaller"
        yield (
            f"The larger a sample's loss, the {larger} its weight, without exception: it may be a function "
            "of the loss, as in focal losses."
        )
