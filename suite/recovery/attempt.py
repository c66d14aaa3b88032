"""A gradient that is to be a weighting of losses, and the pieces in which the losses are read."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from suite.loops import batch as batches
from suite.loops.autograd import grad
from suite.recovery.in_float64 import UnitProblem
from suite.recovery.losses import differing
from suite.recovery.on_few import MOST_CONDITION
from suite.recovery.step import GradientByName

LEAST_PIECE = 1 << 25
"""Bytes that the graph of a piece may always take."""


class Unfit(Exception):  # noqa: N818  it is an answer
    """The weights cannot be had in this way."""


@dataclass(frozen=True, eq=False)
class Attempt:
    """A step's gradient, and the losses that it is to be a weighting of.

    Args:
        given: the losses; the model is nobody else's, though its numbers may be.
        entries: `[samples]` or `[samples, parts]` the losses as numbers.
        saved: how many bytes a forward pass of the whole batch saves for its backward pass.
        gradient: of the step, in the order of the trained parameters.
    """

    given: UnitProblem
    entries: Tensor
    saved: int
    gradient: GradientByName

    @property
    def units(self) -> int:
        """How many there are without the regulariser."""
        return self.entries.numel()

    @property
    def parts(self) -> int:
        """How many units a sample has."""
        return self.units // len(self.entries)

    @cached_property
    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters, by the names that the gradient has."""
        parameters = (p for p in self.given.model.parameters() if p.requires_grad)
        return dict(zip(self.gradient, parameters, strict=True))

    @property
    def most_condition(self) -> float:
        """The largest condition of units' gradients that is of use."""
        return MOST_CONDITION[next(iter(self.gradient.values())).dtype]

    @property
    def pieces(self) -> list[slice]:
        """The samples of each piece."""
        samples = len(self.entries)
        allowed = max(LEAST_PIECE, sum(p.numel() * p.itemsize for p in self.trained.values()))
        size = max(1, min(samples, allowed * samples // max(1, self.saved)))
        return [slice(start, min(start + size, samples)) for start in range(0, samples, size)]

    def read(self, piece: slice) -> Tensor:
        """`[units]` the losses of a piece, with their graph.

        Raises:
            Unfit: They are not those of the whole batch.
        """
        whole = len(self.entries) == piece.stop - piece.start
        batch = (
            self.given.batch
            if whole
            else batches.select(self.given.batch, list(range(piece.start, piece.stop)))
        )
        found = self.given.losses(self.given.model, batch)
        expected = self.entries[piece]
        if found.shape != expected.shape or differing(expected, found.detach()):
            raise Unfit
        return found.flatten()

    def units_of(self, piece: slice) -> slice:
        """The units of its samples."""
        return slice(piece.start * self.parts, piece.stop * self.parts)

    @property
    def solvable(self) -> bool:
        """Whether the gradient is all of one format that is solved in, on one device that has float64."""
        dtypes = {part.dtype for part in self.gradient.values()}
        places = {part.device for part in self.gradient.values()}
        alike = len(dtypes) == len(places) == 1 and dtypes <= MOST_CONDITION.keys()
        return alike and not any(place.type == "mps" for place in places)


def penalty(attempt: Attempt) -> GradientByName | None:
    """The gradient of the regulariser; None where there is none."""
    if attempt.given.regulariser is None:
        return None
    parts = grad(attempt.given.regulariser(attempt.given.model), list(attempt.trained.values()))
    return dict(zip(attempt.gradient, parts, strict=True))


@contextmanager
def differentiated_by(attempt: Attempt, names: Collection[str]) -> Iterator[None]:
    """Inside, the losses are differentiated by these parameters alone."""
    try:
        for name, parameter in attempt.trained.items():
            parameter.requires_grad_(name in names)
        yield
    finally:
        for parameter in attempt.trained.values():
            parameter.requires_grad_(True)  # noqa: FBT003  torch's own
