"""What weights that no formula gives go with: the labels of the batch, or the losses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from suite.algebra.units import Column, Units
from suite.recovery.contents import named_tensors
from suite.recovery.counts import is_whole

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
    label = next(_labels(known, apart, units.sample[told], units.n, batch), None)
    if label is not None:
        yield (
            f"Samples of one value of {label} have one weight: if these are class weights, "
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


def _labels(known: Column, apart: float, samples: Any, n: int, batch: Any) -> Iterator[str]:
    """The tensors of labels whose values say what the weights are."""
    for name, tensor in named_tensors(batch, n):
        if len(tensor) != n or tensor.numel() != n or tensor.is_complex():
            continue
        if not is_whole(tensor):
            continue
        values = tensor.reshape(-1).double().cpu().numpy()
        groups = [known[values[samples] == value] for value in np.unique(values[samples])]
        several = 1 < len(groups) < len(known)
        if several and all(np.ptp(group) <= 2 * apart for group in groups):
            yield name
