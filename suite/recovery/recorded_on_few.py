"""The weights behind a gradient that was seen, without units × parameters, where these are many numbers.

The planner solves on few parameters and proves on all. The pieces in which it reads the losses are the
micro-batches: no graph is larger than the run's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from suite.algebra.units import Units
from suite.loops import batch as batches
from suite.recovery.attempt import Attempt, Unfit
from suite.recovery.eval_copy import in_eval_mode
from suite.recovery.in_float64 import UnitProblem
from suite.recovery.losses import differing
from suite.recovery.many_units import weights_of
from suite.recovery.on_few import Proven
from suite.recovery.step import GradientByName
from suite.recovery.without_matrix import FORMED

Read = Callable[[nn.Module, int], Tensor]


@dataclass(frozen=True, eq=False)
class RecordedAttempt(Attempt):
    """A gradient that was seen, and the losses of its micro-batches.

    Args:
        losses_of: gives `[samples]` or `[samples, parts]` the losses of one micro-batch, by its place.
        sizes: how many units each micro-batch has.
        samples: how many samples there are.
    """

    losses_of: Read
    sizes: tuple[int, ...]
    samples: int

    @property
    def parts(self) -> int:
        """How many units a sample has, at most."""
        return -(-self.units // self.samples)

    @property
    def pieces(self) -> list[slice]:
        """One for each micro-batch."""
        return [slice(place, place + 1) for place in range(len(self.sizes))]

    def read(self, piece: slice) -> Tensor:
        """`[units]` the losses of a micro-batch, with their graph.

        Raises:
            Unfit: They are not those that they were at first.
        """
        found = self.losses_of(self.given.model, piece.start).flatten()
        expected = self.entries[self.units_of(piece)]
        if found.shape != expected.shape or differing(expected, found.detach()):
            raise Unfit
        return found

    def units_of(self, piece: slice) -> slice:
        """The units of a micro-batch."""
        start = sum(self.sizes[: piece.start])
        return slice(start, start + self.sizes[piece.start])


def are_many(units: int, model: nn.Module) -> bool:
    """Whether the gradients of so many units are too many numbers to form them all."""
    return units * sum(p.numel() for p in model.parameters() if p.requires_grad) > FORMED


def proven_of_recorded(
    model: nn.Module,
    whole: batches.Batch,
    losses_of: Read,
    entries: Sequence[Tensor],
    gradient: GradientByName,
    units: Units,
    memory: int | None,
) -> Proven | None:
    """The weights, solved for on few parameters and proven on all; None where that cannot be had.

    Args:
        model: a copy at the parameters of the update.
        whole: the micro-batches as one batch; nothing where they are of different shapes.
        losses_of: gives the losses of one micro-batch, by its place.
        entries: for each micro-batch, `[samples]` or `[samples, parts]` the losses as numbers.
        gradient: by parameter name, in the order of the trained parameters.
        units: the units table.
        memory: how many bytes may be taken; half of what is free if None.
    """
    several = any(each.ndim > 1 for each in entries)
    flat = torch.cat([each.flatten() for each in entries])
    alone = not several and not batches.tensors(whole)
    if alone or not flat.is_floating_point() or not bool(torch.isfinite(flat).all()):
        return None

    def together(model: nn.Module, _: batches.Batch) -> Tensor:
        return torch.cat([losses_of(model, place).flatten() for place in range(len(entries))])

    attempt = RecordedAttempt(
        UnitProblem(in_eval_mode(model, shared=True), whole, together, None),
        flat, 0, gradient, losses_of,
        tuple(each.numel() for each in entries), sum(map(len, entries)),
    )  # fmt: skip
    return weights_of(attempt, units, memory)


def divided(found: Proven, factor: float) -> Proven:
    """The same weights of a gradient that was divided by a number."""
    r = np.array(found.root.r)
    r[:, -1] /= factor
    was = found.solution
    solution = replace(
        was,
        weights=was.weights / factor,
        error=was.error / factor,
        residual=was.residual / factor,
        size=was.size / factor,
        rounding=was.rounding / factor,
    )
    return replace(found, root=replace(found.root, r=r), solution=solution, left=found.left / factor)
