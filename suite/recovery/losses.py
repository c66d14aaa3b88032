"""How the losses are read: with the step's random numbers, on the whole batch or on pieces of it in turn.

A loss that draws noise is a function of the batch only where its numbers are the step's. Each reading
therefore begins where the step began. A step that takes its batch in pieces draws piece by piece, and a loss
that couples samples couples those of a piece: `cut` reads the losses as such a step does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from suite.errors import CaseError, UsageError, one_line, place
from suite.loops import batch as batches
from suite.loops.batch import Batch
from suite.loops.checkpoints import not_reentrant
from suite.loops.loop import Losses
from suite.recovery.put_back import same
from suite.recovery.surroundings import Surroundings

Cut = tuple[tuple[int, ...], ...]
"""The rows of each piece of a batch."""


@dataclass(frozen=True, eq=False)
class Reading:
    """The unreduced losses, read with random numbers as they were at first.

    Args:
        losses: `losses(model, batch)` gives `[samples]` or `[samples, parts]`.
        surroundings: knows the random numbers.
        pieces: the rows of each piece, in the order in which they are read; the whole batch if None.
        copies: whether the losses get a copy of the batch, as they change it.
        seed: of other random numbers.
    """

    losses: Losses
    surroundings: Surroundings
    pieces: Cut | None = None
    copies: bool = False
    seed: int | None = None

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """`[samples]` or `[samples, parts]` the losses."""
        self.surroundings.rewind(self.seed)
        given = batches.map_tensors(torch.clone, batch) if self.copies else batch
        order = [row for rows in self.pieces or () for row in rows]
        losses = not_reentrant(self.losses)
        if not order or len(order) != batches.size(batch):
            return losses(model, batches.content(given))
        pieces = (batches.select(given, list(rows)) for rows in self.pieces or ())
        read = [losses(model, batches.content(piece)) for piece in pieces]
        return torch.cat(read)[torch.tensor(order, device="cpu").argsort()]

    def cut(self, pieces: Cut) -> Reading:
        """The losses read piece by piece."""
        return replace(self, pieces=pieces)

    def numbers(self, model: nn.Module, batch: Batch, seed: int | None = None) -> Tensor:
        """The losses as numbers, with the random numbers of a `seed`."""
        with self.surroundings.kept(), torch.enable_grad():
            found = replace(self, seed=seed)(model, batch)
        return found.detach().clone() if isinstance(found, Tensor) else torch.zeros(())  # said later

    def sound(self, model: nn.Module, batch: Batch) -> tuple[Reading, Tensor]:
        """This reading, on copies of the batch where the losses change it; and what the losses are.

        Raises:
            UsageError: The losses fail.
        """
        before = batches.tensors(batches.map_tensors(torch.clone, batch))
        with self.surroundings.kept(), torch.enable_grad():  # it puts the batch back, too
            try:
                entries = self(model, batch)
            except (UsageError, CaseError):
                raise
            except (Exception, SystemExit) as error:
                raise UsageError(
                    f"the losses failed{place(error)}: {one_line(error)}; they are called as "
                    "losses(model, batch), with the model in eval mode"
                ) from error
            changed = not all(map(same, batches.tensors(batch), before))
        return (replace(self, copies=True) if changed else self), entries


def differing(a: Tensor, b: Tensor) -> bool:
    """Whether losses differ by more than rounding."""
    slack = float(torch.finfo(a.dtype).eps) ** 0.5 if a.is_floating_point() else 0.0
    return a.shape == b.shape and not torch.allclose(a, b, rtol=slack, atol=0.0, equal_nan=True)


def in_turn(groups: Sequence[int]) -> Cut:
    """The pieces of a batch, from the group that each sample is in, in the order of the groups."""
    names = sorted(set(groups))
    return tuple(tuple(row for row, group in enumerate(groups) if group == name) for name in names)


def even(samples: int, most: int = 8) -> list[Cut]:
    """Cuts of a batch into neighbouring pieces of one size, large ones first; at most so many.

    Those without a remainder come before those whose last piece is smaller.
    """
    sizes = sorted(range(1, samples), key=lambda size: (samples % size > 0, -size))[:most]
    return [
        tuple(tuple(range(start, min(start + size, samples))) for start in range(0, samples, size))
        for size in sizes
    ]
