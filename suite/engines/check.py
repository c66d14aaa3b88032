"""Whether an engine's gradients can be trusted for this model and batch.

One look through plain autograd, for the price of one backward pass: the losses weighted at random,
parameter by parameter. A unit that is wrong, left out or exchanged for another, and what couples units,
change that gradient as they change the units' own. Only where it differs are further looks taken, at the
sum of all units and at single ones, to say what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from suite.algebra.units import Column
from suite.engines.chunks import Chunked
from suite.engines.engine import Refused
from suite.engines.unit_gradients import UnitGradients
from suite.engines.weighted_vjp import WeightedVJP
from suite.loops.batch import Batch
from suite.loops.loop import Losses

SINGLE_UNITS = 3
SEED = 20130617
"""Of the weights: the same for every check, so that a result can be had again."""


def check_gradients(
    gradients: UnitGradients,
    model: nn.Module,
    batch: Batch,
    losses: Losses,
    step: int | None = None,
    entries: Tensor | None = None,
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
        entries: the losses, where a forward pass of the model left them with their graph.

    Raises:
        Refused: They differ; the message names the worst parameter and its error.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    units = gradients.shape[0]
    if isinstance(gradients, Chunked):
        gradients.gram()  # it is kept; while it grows, nothing else may take memory
    column = random_weights(units)
    # Autograd's graph takes as much as what the engine lets go: not before, unless it is there.
    ours = gradients.reduce(column[None])[0] if entries is None else None
    autograd = WeightedVJP(model, batch, losses, list(trained.values()), step, entries)
    if units != autograd.units:
        raise Refused(f"gave {units} gradients where there are {autograd.units} units")

    compared = _Compared(gradients, autograd, list(trained))
    if ours is None and compared.agree(column):
        return
    first = compared.difference("a random weighting of the units", column, ours)
    if first is None:
        return
    looks = [("the sum over all units", np.ones(units))]
    looks += [(f"unit {u}", np.eye(units)[u]) for u in _chosen(units)]
    for what, look in looks:
        found = compared.difference(what, look)
        if found is not None:
            raise Refused(found)
    raise Refused(first)


@dataclass(frozen=True)
class _Compared:
    """An engine's gradients beside autograd's.

    Args:
        gradients: of the engine.
        autograd: plain autograd of the same losses.
        names: of the trained parameters.
    """

    gradients: UnitGradients
    autograd: WeightedVJP
    names: Sequence[str]

    def agree(self, column: Column) -> bool:
        """Whether the units' gradients, weighted by `column`, are autograd's, so far as random columns tell.

        They see a quarter of what is tolerated; then what is formed decides.
        """
        expected = dict(zip(self.names, self.autograd.of(column), strict=True))
        norms, allowed = [], []
        for pair in self.gradients.beside(column, expected):
            norms.append(_norms(pair.ours, pair.theirs))
            allowed.append((_tolerance(pair.ours) * (1.0 if pair.whole else 0.25), pair.whole))
        return all(
            self._tolerated(tolerance, distance, max(both), column, whole=whole)
            for (tolerance, whole), (distance, *both) in zip(allowed, _fetched(norms), strict=True)
        )

    def difference(self, what: str, column: Column, row: Tensor | None = None) -> str | None:
        """What differs from autograd in `row`, the units weighted by `column`; None if nothing does."""
        row = self.gradients.reduce(column[None])[0] if row is None else row
        expected = [part.flatten().to(row.device) for part in self.autograd.of(column)]
        found = row.split([part.numel() for part in expected])
        *norms, finite = _fetched(
            [*map(_norms, found, expected), torch.isfinite(row).all().to(row).expand(3)]
        )
        if not finite[0]:
            return f"gave a gradient that is not finite for {what}"
        for name, (distance, *both) in zip(self.names, norms, strict=True):
            scale = max(both)
            if not self._tolerated(_tolerance(row), distance, scale, column, whole=True):
                return (
                    f"is wrong for {name}: relative error {distance / max(scale, 1e-300):.2g} "
                    f"in {what} against autograd"
                )
        return None

    def _tolerated(
        self, tolerance: float, distance: float, scale: float, column: Column, *, whole: bool
    ) -> bool:
        # Few parameters cancel, and what they are then held against costs a Gram matrix.
        return distance <= tolerance * scale or (whole and distance <= tolerance**1.5 * self._size(column))

    def _size(self, column: Column) -> float:
        """The norm of the gradient so weighted, if the units' gradients are unlike one another.

        What rounding leaves of gradients that cancel grows as this does: its signs are random.
        """
        squares = np.diagonal(self.gradients.gram()).max(initial=0.0)
        return float(np.sqrt(squares) * np.linalg.norm(column))


def _norms(ours: Tensor, theirs: Tensor) -> Tensor:
    """`[3]` the distance and both norms, still on their device."""
    norm = torch.linalg.vector_norm
    return torch.stack([norm(ours - theirs), norm(theirs), norm(ours)])


def _fetched(norms: Sequence[Tensor]) -> list[list[float]]:
    """The numbers of all, for which the host waits once, however many parameters there are."""
    return torch.stack(list(norms)).tolist() if norms else []


def _tolerance(like: Tensor) -> float:
    return float(np.sqrt(torch.finfo(like.dtype).eps))


@lru_cache(16)
def random_weights(units: int) -> Column:
    """`[units]` of random sign and of a magnitude from 1/2 to 2: none is lost beside another. To be read."""
    draw = np.random.default_rng(SEED)
    return np.asarray(draw.choice((-1.0, 1.0), units) * 2.0 ** draw.uniform(-1, 1, units))


def _chosen(units: int) -> list[int]:
    """A few units from all over the batch, first and last among them."""
    return sorted({int(u) for u in np.linspace(0, units - 1, min(SINGLE_UNITS, units))})
