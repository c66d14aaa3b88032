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
from torch import Tensor, nn

from suite.autograd import grad
from suite.batch import Batch
from suite.engines.engine import Refused
from suite.engines.gradients import UnitGradients
from suite.protocols import Losses

SINGLE_UNITS = 3


def check(gradients: UnitGradients, model: nn.Module, batch: Batch, losses: Losses) -> None:
    """Hold the data units of `gradients` against plain autograd.

    Each parameter's gradient must agree to half the digits of the dtype: rounding stays orders of
    magnitude below that, and the least of the known silent errors of Opacus 1.6 is 0.3. A gradient
    that cancels (the bias before a normalisation) is held against the norm of the whole gradient.

    Raises:
        Refused: They differ; the message names the worst parameter and its error.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    entries = losses(model, batch).flatten()
    units = len(entries)
    if gradients.shape[0] != units:
        raise Refused(f"gave {gradients.shape[0]} gradients where there are {units} units")

    def autograd(loss: Tensor) -> Tensor:
        grads = grad(loss, list(trained.values()), keep_graph=True)
        return torch.cat([g.flatten() for g in grads])

    @cache
    def typical() -> float:  # of the units' norms; few parameters cancel, and a Gram matrix costs
        return float(np.sqrt(np.diagonal(gradients.gram()).max(initial=0.0)))

    looks = [("the sum over all units", np.ones(units), entries.sum())]
    looks += [(f"unit {u}", np.eye(units)[u], entries[u]) for u in _chosen(units)]
    got = gradients.reduce(np.stack([column for _, column, _ in looks]))
    tolerance = float(torch.finfo(got.dtype).eps) ** 0.5
    sizes = [p.numel() for p in trained.values()]
    for (what, column, loss), row in zip(looks, got, strict=True):
        expected = autograd(loss)
        if not bool(torch.isfinite(row).all()):
            raise Refused(f"gave a gradient that is not finite for {what}")
        for name, ours, theirs in zip(trained, row.split(sizes), expected.split(sizes), strict=True):
            distance = float((ours.double() - theirs.double()).norm())
            scale = max(float(theirs.norm()), float(ours.norm()))
            if distance > tolerance * scale and distance > tolerance**1.5 * typical() * column.sum():
                raise Refused(
                    f"is wrong for {name}: relative error {distance / max(scale, 1e-300):.2g} "
                    f"in {what} against autograd"
                )


def _chosen(units: int) -> list[int]:
    """A few units from all over the batch, first and last among them."""
    return sorted({int(u) for u in np.linspace(0, units - 1, min(SINGLE_UNITS, units))})
