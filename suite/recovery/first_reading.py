"""What the first reading of the losses tells: their numbers, and how they are computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from suite.loops import batch as batches
from suite.loops.batch import Batch
from suite.machine.allocations import DifferentiatesInside, saved_for_backward_bytes
from suite.recovery.formats import Watch, is_narrow
from suite.recovery.losses import Reading


@dataclass(frozen=True, eq=False)
class FirstReading:
    """The losses, read once.

    Args:
        reading: how they are to be read from now on.
        entries: what they gave.
        saved: how many bytes their graph saves for a backward pass; None where that cannot be measured.
        narrow: whether anything was rounded to fewer digits than float32 has.
        drawn: whether they may draw random numbers.
    """

    reading: Reading
    entries: Tensor
    saved: int | None
    narrow: bool
    drawn: bool

    @property
    def plain(self) -> bool:
        """Whether these are losses of samples or their parts, finite, with a graph that was measured."""
        found = self.entries
        right = found.ndim in (1, 2) and found.is_floating_point() and self.saved is not None
        return right and not self.narrow and not self.drawn and bool(torch.isfinite(found).all())


def first_reading(reading: Reading, model: nn.Module, batch: Batch) -> FirstReading:
    """The losses of `model` in eval mode, read once, and what was seen on the way.

    Raises:
        UsageError: The losses fail.
    """
    seen: list[tuple[Tensor, int | None, Watch, bool]] = []

    idle = [*model.parameters(), *model.buffers(), *batches.tensors(batch)]

    def watched(model: nn.Module, batch: Batch) -> Tensor:
        with Watch() as watch:
            entries, saved = _measured(reading, model, batch, idle)
        seen.append((entries, saved, watch, reading.surroundings.drawn()))
        return entries

    sound, _ = replace(reading, losses=watched).sound(model, batch)
    entries, saved, watch, drawn = seen[-1]
    narrow = watch.seen.tf32 or any(map(is_narrow, watch.seen.dtypes))
    if not isinstance(entries, Tensor):
        entries = torch.zeros(())  # whoever computes the gradients says what is wrong
    saved = saved if entries.requires_grad else None
    return FirstReading(replace(sound, losses=reading.losses), entries.detach().clone(), saved, narrow, drawn)


def _measured(
    reading: Reading, model: nn.Module, batch: Batch, idle: Sequence[Tensor]
) -> tuple[Tensor, int | None]:
    try:
        return saved_for_backward_bytes(lambda: reading.losses(model, batch), idle)
    except DifferentiatesInside:
        pass
    except RuntimeError as error:  # torch.func inside the losses admits no hooks
        if "saved tensor" not in str(error):
            raise
    reading.surroundings.rewind(reading.seed)
    return reading.losses(model, batch), None
