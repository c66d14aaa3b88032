"""The tools of a literal loop: what a training script does by hand, one `backward()` at a time.

Each convention has a *reference loop*, which its paper, framework or forum post runs. Reference loops
are written the naive way and know nothing of coefficients: they are the oracle that coefficients are
held against. A reference loop receives a `Loop` and leaves its gradient in the parameters' `.grad`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from suite.loops import batch as batches
from suite.loops.autograd import grad
from suite.loops.batch import Batch

if TYPE_CHECKING:
    from suite.algebra.units import Grouping, Units

Losses = Callable[[nn.Module, Batch], Tensor]
Regulariser = Callable[[nn.Module], Tensor]
Gradient = list[Tensor]


@dataclass(frozen=True)
class Loop:
    """A model and a batch as a hand-written training step sees them.

    Args:
        model: trained by its parameters that require a gradient.
        batch: the samples.
        unreduced: gives the losses, `[samples]` or `[samples, parts]`.
        units: the units table of this batch.
        penalty: the regulariser, or None.
        rows: which samples of the units table this batch holds; None for all.
    """

    model: nn.Module
    batch: Batch
    unreduced: Losses
    units: Units
    penalty: Regulariser | None = None
    rows: Tensor | None = None

    # What a script has in hand.

    @cached_property
    def parameters(self) -> list[nn.Parameter]:
        """The trained parameters."""
        return [p for p in self.model.parameters() if p.requires_grad]

    @property
    def n(self) -> int:
        """The number of samples in this batch."""
        return batches.size(self.batch)

    def losses(self) -> Tensor:
        """`[samples, parts]` the unreduced losses, from a fresh forward pass."""
        return self.unreduced(self.model, self.batch).reshape(self.n, -1)

    def regulariser(self) -> Tensor:
        """The penalty, a scalar; zero where the case has none."""
        if self.penalty is None:
            return torch.zeros((), device=self.parameters[0].device)
        return self.penalty(self.model)

    def column(self, name: str) -> Tensor:
        """`[samples, parts]` a column of the units table (`elements`, `positions`, `weight`, …)."""
        units = self.units
        values = torch.as_tensor(units.require(name)[units.data])
        values = values.reshape(units.n, -1)
        if self.rows is not None:
            values = values[self.rows]
        first = self.parameters[0]
        return values.to(device=first.device, dtype=first.dtype)

    # How a script cuts its batch.

    def samples(self) -> list[Loop]:
        """This batch as batches of one sample."""
        return [self._cut(torch.tensor([row])) for row in range(self.n)]

    def microbatches(self) -> list[Loop]:
        """The micro-batches of the accumulation window, in order."""
        return self._groups("microbatch")

    def ranks(self) -> list[Loop]:
        """What each rank that has data trains on."""
        return self._groups("rank")

    def _groups(self, by: Grouping) -> list[Loop]:
        index = torch.as_tensor(self.units.require(by)[self.units.data])
        index = index.reshape(self.units.n, -1)[:, 0]  # all parts of a sample stay together
        return [self._cut((index == group).nonzero()[:, 0]) for group in index.unique()]

    def _cut(self, rows: Tensor) -> Loop:
        whole = rows if self.rows is None else self.rows[rows]
        device = self.parameters[0].device
        cut = replace(self, batch=batches.select(self.batch, rows.to(device)), rows=whole)
        vars(cut)["parameters"] = self.parameters  # the model is the same: not looked for again
        return cut

    # What a script does with gradients.

    def gradient(self, loss: Tensor) -> Gradient:
        """The gradient of `loss`, zeros for a parameter it does not depend on."""
        return grad(loss, self.parameters)

    def clip(self, gradient: Gradient, max_norm: float | None = None) -> Gradient:
        """`gradient · min(1, C/‖gradient‖)`, the norm over all parameters, plus what is added to it."""
        threshold = self.units.require("max_norm") if max_norm is None else max_norm
        norm = torch.cat([part.flatten() for part in gradient]).norm() + self.units.added_to_norm
        return gradient if norm <= threshold else [part * (threshold / norm) for part in gradient]

    def all_reduce(self, gradients: Sequence[Gradient]) -> Gradient:
        """The sum over ranks, parameter by parameter."""
        return [torch.stack(parts).sum(0) for parts in zip(*gradients, strict=True)]

    def accumulate(self, gradient: Gradient, divide_by: float = 1) -> None:
        """Add `gradient / divide_by` to the `.grad` of the parameters, as `backward()` would."""
        for parameter, part in zip(self.parameters, gradient, strict=True):
            share = part / divide_by
            parameter.grad = share if parameter.grad is None else parameter.grad + share


def run_reference_loop(reference_loop: Callable[[Loop], None], loop: Loop) -> Tensor:
    """`[params]` the gradient that `reference_loop` leaves; the model's own `.grad` is put back after."""
    before = [p.grad for p in loop.parameters]
    try:
        for parameter in loop.parameters:
            parameter.grad = None
        reference_loop(loop)
        return torch.cat([
            (torch.zeros_like(p) if p.grad is None else p.grad).detach().flatten()
            for p in loop.parameters
        ])  # fmt: skip
    finally:
        for parameter, grad in zip(loop.parameters, before, strict=True):
            parameter.grad = grad
