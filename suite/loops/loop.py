"""The tools of a literal loop: what a training script does by hand, one `backward()` at a time.

Each convention has a *reference loop*, which its paper, framework or forum post runs. Reference loops
are written the naive way and know nothing of coefficients: they are the oracle that coefficients are
held against. A reference loop receives a `Loop` and leaves its gradient in the parameters' `.grad`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor, nn

from suite.loops import batch as batches
from suite.loops.autograd import grad
from suite.loops.batch import Batch

if TYPE_CHECKING:
    from suite.algebra.units import Units

Losses = Callable[[nn.Module, Batch], Tensor]
Regulariser = Callable[[nn.Module], Tensor]
Gradient = list[Tensor]
CutBy = Literal["sample", "microbatch", "rank"]
CUTS: tuple[CutBy, ...] = get_args(CutBy)
"""How scripts cut a batch: into its samples, its micro-batches, its ranks."""


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
        home: where the losses are handed out, and what is multiplied with them; on the device of the
            parameters if None.
    """

    model: nn.Module
    batch: Batch
    unreduced: Losses
    units: Units
    penalty: Regulariser | None = None
    rows: Tensor | None = None
    home: torch.device | None = None

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
            return torch.zeros((), device=self._home)
        return self.penalty(self.model)

    def column(self, name: str) -> Tensor:
        """`[samples, parts]` a column of the units table (`elements`, `positions`, `weight`, …)."""
        units = self.units
        if name not in self._columns:
            values = torch.from_numpy(units.require(name)[units.data])
            values = values.reshape(units.n, -1)
            if self.rows is not None:
                values = values[self.rows]
            dtype = self.parameters[0].dtype
            self._columns[name] = values.to(device=self._home, dtype=dtype, non_blocking=True)
        return self._columns[name]

    @cached_property
    def _columns(self) -> dict[str, Tensor]:
        return {}

    @cached_property
    def _cuts(self) -> dict[CutBy, list[Loop]]:
        return {}

    @property
    def _home(self) -> torch.device:
        return self.parameters[0].device if self.home is None else self.home

    # How a script cuts its batch.

    def samples(self) -> list[Loop]:
        """This batch as batches of one sample."""
        return self._cut("sample")

    def microbatches(self) -> list[Loop]:
        """The micro-batches of the accumulation window, in order."""
        return self._cut("microbatch")

    def ranks(self) -> list[Loop]:
        """What each rank that has data trains on."""
        return self._cut("rank")

    @property
    def cuts(self) -> tuple[CutBy, ...]:
        """How the batch has been cut so far."""
        return tuple(self._cuts)

    def prepare(self, cuts: Iterable[CutBy] = ()) -> None:
        """Let cached losses be computed and fetched at once: of the batch, and of its pieces."""
        some = [self.batch]
        for by in cuts:
            if by not in self._cuts:  # the same pieces each time, as cutting costs copies
                self._cuts[by] = [self._piece(rows) for rows in self._groups(by)]
            some += [piece.batch for piece in self._cuts[by]]
        prepare = getattr(self.unreduced, "prepare", None)
        if prepare is not None and torch.is_grad_enabled():
            prepare(self.model, some)

    def _cut(self, by: CutBy) -> list[Loop]:
        if by not in self._cuts:
            self.prepare(self._with(by))
        return self._cuts[by]

    def _with(self, by: CutBy) -> Iterator[CutBy]:
        """A cut, and those that cost little beside it: they are fetched from a device with it."""
        yield by
        if self.home is not None and self.rows is None:
            others = (name for name in CUTS if name not in (by, "sample"))
            yield from (name for name in others if getattr(self.units, name) is not None)

    def _groups(self, by: CutBy) -> Iterator[Tensor]:
        if by == "sample":
            return (torch.tensor([row], device="cpu") for row in range(self.n))
        index = torch.from_numpy(self.units.require(by)[self.units.data])
        index = index.reshape(self.units.n, -1)[:, 0]  # all parts of a sample stay together
        return ((index == group).nonzero()[:, 0] for group in index.unique())

    def _piece(self, rows: Tensor) -> Loop:
        whole = rows if self.rows is None else self.rows[rows]
        cut = replace(self, batch=_rows(self.batch, rows), rows=whole)
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
        factor = (threshold / norm).clamp(max=1)  # not asked for: a device would have to be waited for
        return [part * factor for part in gradient]

    def all_reduce(self, gradients: Sequence[Gradient]) -> Gradient:
        """The sum over ranks, parameter by parameter."""
        return [torch.stack(parts).sum(0) for parts in zip(*gradients, strict=True)]

    def accumulate(self, gradient: Gradient, divide_by: float = 1) -> None:
        """Add `gradient / divide_by` to the `.grad` of the parameters, as `backward()` would."""
        for parameter, part in zip(self.parameters, gradient, strict=True):
            share = part / divide_by
            parameter.grad = share if parameter.grad is None else parameter.grad + share


def _rows(batch: Batch, rows: Tensor) -> Batch:
    """Some samples, copied; neighbours as a slice, for which no index has to come to a device."""
    start = int(rows[0]) if len(rows) else 0
    neighbours = torch.equal(rows, torch.arange(start, start + len(rows), device="cpu"))
    if not neighbours or isinstance(batch, batches.ChosenBatch):
        return batches.select(batch, rows)
    return batches.map_tensors(torch.clone, batches.select(batch, slice(start, start + len(rows))))


def run_reference_loop(reference_loop: Callable[[Loop], None], loop: Loop) -> Tensor:
    """`[params]` the gradient that `reference_loop` leaves; the model's own `.grad` is put back after."""
    before = [p.grad for p in loop.parameters]
    try:
        for parameter in loop.parameters:
            parameter.grad = None
        try:
            reference_loop(loop)
        except RuntimeError as error:
            if loop.home is None or "same device" not in str(error):
                raise
            # It multiplies the losses with something of the batch.
            for parameter in loop.parameters:
                parameter.grad = None
            unreduced = getattr(loop.unreduced, "losses", loop.unreduced)
            reference_loop(replace(loop, unreduced=unreduced, home=None))
        return torch.cat([
            (torch.zeros_like(p) if p.grad is None else p.grad).detach().flatten()
            for p in loop.parameters
        ])  # fmt: skip
    finally:
        for parameter, grad in zip(loop.parameters, before, strict=True):
            parameter.grad = grad
