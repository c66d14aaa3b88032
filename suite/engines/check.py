"""Whether an engine's gradients can be trusted for this model and batch.

Two independent looks through plain autograd: the sum over all units against the gradient of the
summed loss, parameter by parameter; and a few single units against the gradient of their own loss.
The first finds nearly all errors for the price of one backward pass; the second finds those that
cancel in the sum (a coupling between samples, two units exchanged).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import nn

from suite.engines.chunks import Chunked
from suite.engines.engine import Refused
from suite.engines.unit_gradients import UnitGradients
from suite.engines.weighted_vjp import WeightedVJP
from suite.loops.batch import Batch
from suite.loops.loop import Losses

SINGLE_UNITS = 3


def check_gradients(
    gradients: UnitGradients, model: nn.Module, batch: Batch, losses: Losses, step: int | None = None
) -> None:
    """Hold the data units of `gradients` against plain autograd.

    Each parameter's gradient must agree to half the digits of the dtype: rounding stays orders of
    magnitude below that, and the least of the known silent errors of Opacus 1.6 is 0.3. A gradient
    that cancels (the bias before a normalisation) is held against the norm of the whole gradient.

    Args:
        gradients: to be checked.
        model: that they are of; it is used once more.
        batch: of samples along the first axis.
        losses: the unreduced losses.
        step: how many samples autograd may have at a time; all if None.

    Raises:
        Refused: They differ; the message names the worst parameter and its error.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    units = gradients.shape[0]
    looks = [("the sum over all units", np.ones(units))]
    looks += [(f"unit {u}", np.eye(units)[u]) for u in _chosen(units)]
    if isinstance(gradients, Chunked):
        gradients.gram()  # it is kept; while it grows, nothing else may take memory
    weights, directions = gradients.directions(np.stack([column for _, column in looks]))

    @cache
    def typical() -> float:  # of the units' norms; few parameters cancel, and a Gram matrix costs
        return float(np.sqrt(np.diagonal(gradients.gram()).max(initial=0.0)))

    # Not before: its graph takes as much as what the engine has just let go.
    autograd = WeightedVJP(model, batch, losses, list(trained.values()), step)
    if units != autograd.units:
        raise Refused(f"gave {units} gradients where there are {autograd.units} units")
    tolerance = float(torch.finfo(directions.dtype).eps) ** 0.5
    sizes = [p.numel() for p in trained.values()]
    for (what, column), weight in zip(looks, weights, strict=True):
        row = weight @ directions
        expected = [part.flatten() for part in autograd.of(column)]
        if not bool(torch.isfinite(row).all()):
            raise Refused(f"gave a gradient that is not finite for {what}")
        for name, ours, theirs in zip(trained, row.split(sizes), expected, strict=True):
            distance = float((ours - theirs).norm())
            scale = max(float(theirs.norm()), float(ours.norm()))
            if distance > tolerance * scale and distance > tolerance**1.5 * typical() * column.sum():
                raise Refused(
                    f"is wrong for {name}: relative error {distance / max(scale, 1e-300):.2g} "
                    f"in {what} against autograd"
                )


def _chosen(units: int) -> list[int]:
    """A few units from all over the batch, first and last among them."""
    return sorted({int(u) for u in np.linspace(0, units - 1, min(SINGLE_UNITS, units))})
