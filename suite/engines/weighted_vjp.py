"""What every engine is held against: plain autograd, of the whole batch at once or some samples at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from suite.algebra.units import Column
from suite.loops import batch as batches
from suite.loops.autograd import grad, values
from suite.loops.batch import Batch
from suite.loops.loop import Losses
from suite.machine.cuda import sent


class WeightedVJP:
    """Gradients of weighted losses, by plain autograd.

    Args:
        model: whose parameters are differentiated by.
        batch: of samples along the first axis.
        losses: the unreduced losses.
        trained: the parameters.
        step: how many samples have a graph at a time, a new one for each weighting; all of them, and one
            graph for all weightings, if None.
        entries: the losses of the whole batch with their graph, where somebody has computed them; the first
            weighting reads it, and lets it go.
    """

    def __init__(
        self,
        model: nn.Module,
        batch: Batch,
        losses: Losses,
        trained: Sequence[nn.Parameter],
        step: int | None,
        entries: Tensor | None = None,
    ) -> None:
        self._model, self._batch, self._losses, self._trained = model, batch, losses, trained
        self._samples = batches.size(batch)
        self._step = self._samples if step is None else step
        self._given = entries
        self._whole: Tensor | None = None
        if entries is not None:
            self.units = entries.numel()
        elif self._step >= self._samples:
            self._whole = losses(model, batch).flatten()
            self.units = len(self._whole)
        else:
            self.units = values(lambda: losses(model, batch)).numel()

    def of(self, column: Column) -> list[Tensor]:
        """By parameter, the gradient of the losses so weighted."""
        if self._given is not None:
            entries, self._given = self._given.flatten(), None
            return grad(entries, self._trained, sent(column, entries))
        if self._whole is None and self._step >= self._samples:
            self._whole = self._losses(self._model, self._batch).flatten()
        if self._whole is not None:
            weights = sent(column, self._whole)
            return grad(self._whole, self._trained, weights, keep_graph=True)
        parts = self.units // self._samples
        total = [torch.zeros_like(p) for p in self._trained]
        for start in range(0, self._samples, self._step):
            some = column[start * parts : (start + self._step) * parts]
            if some.any():
                rows = slice(start, start + self._step)
                entries = self._losses(self._model, batches.select(self._batch, rows)).flatten()
                found = grad(entries, self._trained, sent(some, entries))
                for part, more in zip(total, found, strict=True):
                    part += more
        return total
