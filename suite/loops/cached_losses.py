"""Losses that are computed once for each batch, and differentiated once for each weighting of them.

Thirty literal loops over one batch run the same forward passes over the same micro-batches, ranks and
samples, and many the same backward passes: those of a sum, a mean over 32 samples and half of it differ
by powers of two, which floating-point numbers carry through a backward pass without rounding. What comes
out is the same to the last bit, unless it is smaller than the smallest normal number; it is only not
computed again. A format of few exponents, such as float16, has every weighting computed.

From a device the losses are handed out on the host, and what a loop makes of these few numbers is computed
there: only then are its weights known without waiting for the device, once for each backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from suite.loops.autograd import grad
from suite.loops.batch import Batch, map_tensors, tensors
from suite.loops.loop import Losses, Regulariser
from suite.machine.allocations import saved_for_backward_bytes

CACHED_BYTES = 1 << 27
"""How many bytes of gradients are kept, at most."""
SMALLEST_NORMAL = 2.0**-126
"""A format whose smallest normal number is not above this one has exponents to spare."""
HOST = ("cpu", "mps")
"""Devices on which loops compute as they stand."""
NOTHING: Batch = ()
"""The batch of a penalty; no batch of samples is empty."""
FARTHEST = 60
"""Weights of larger or smaller exponents are not shifted: 2¹²⁰ between two of them fits every format."""


class CachedLosses:
    """`losses` with a memory, for a model whose forward pass is a function of the batch alone.

    Args:
        losses: `losses(model, batch)` gives the unreduced losses.
        memory: how many bytes may be kept, graphs included; all graphs, and `CACHED_BYTES` of
            gradients, if None.
        penalty: the regulariser, which is remembered in the same way, or None.
    """

    def __init__(self, losses: Losses, memory: int | None = None, penalty: Regulariser | None = None) -> None:
        self.losses, self.penalty = losses, penalty
        self._batches: dict[Hashable, Batch] = {}
        self._tapes: dict[Hashable, _Tape] = {}
        self._models: dict[int, tuple[nn.Module, list[nn.Parameter]]] = {}
        self._memory = CACHED_BYTES if memory is None else max(0, memory)
        self._bounded = memory is not None

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """The losses, from the forward pass that this batch has had already or has now."""
        return self._replayed(model, batch, self.losses)

    def regulariser(self, model: nn.Module) -> Tensor:
        """The penalty, from the pass that these parameters have had already or have now."""
        return self._replayed(model, NOTHING, self._penalty)

    def prepare(self, model: nn.Module, some: Sequence[Batch]) -> None:
        """Compute the penalty and the losses of these batches, and fetch them from a device all at once."""
        if all(t.device.type in HOST for t in model.parameters()):
            return  # nothing is fetched
        tapes = [self._tape(model, batch, self.losses) for batch in some]
        if self.penalty is not None:
            tapes.append(self._tape(model, NOTHING, self._penalty))
        waiting = [tape for tape in tapes if isinstance(tape, _Tape) and tape.handed_out is None]
        if waiting:
            entries = [tape.entries.detach() for tape in waiting]
            fetched = torch.cat([part.flatten().to(entries[0].device) for part in entries]).cpu()
            parts = fetched.split([part.numel() for part in entries])
            for tape, like, part in zip(waiting, entries, parts, strict=True):
                tape.handed_out = part.to(like.dtype, copy=True).reshape(like.shape)

    def _penalty(self, model: nn.Module, _: Batch) -> Tensor:
        assert self.penalty is not None  # noqa: S101  who asks for it has one
        return self.penalty(model)

    def _replayed(self, model: nn.Module, batch: Batch, losses: Losses) -> Tensor:
        if not torch.is_grad_enabled():
            return _handed_out(losses(model, batch))
        tape = self._tape(model, batch, losses)
        if isinstance(tape, Tensor):
            return _handed_out(tape)
        if tape.handed_out is None:
            tape.handed_out = _handed_out(tape.entries.detach())
        replayed: Tensor = _Replayed.apply(tape, tape.handed_out, *tape.parameters)
        return replayed

    def _tape(self, model: nn.Module, batch: Batch, losses: Losses) -> _Tape | Tensor:
        """What is known of a batch; its losses where there is no memory to keep more."""
        # The model is kept alive with its parameters: its identity is part of the key.
        if id(model) not in self._models:
            self._models[id(model)] = model, [p for p in model.parameters() if p.requires_grad]
        _, parameters = self._models[id(model)]
        known = self._contents(batch)
        key = (id(model), tuple(p._version for p in parameters), known)  # noqa: SLF001
        if key not in self._tapes:
            entries, size = self._forward(model, batch, losses)
            if not self.admits(size):
                return entries
            self._tapes[key] = _Tape(self, entries, parameters)
        return self._tapes[key]

    def _contents(self, batch: Batch) -> Hashable:
        """What tells batches apart; a device's by its tensors themselves, which are then kept alive."""
        found = tensors(batch)
        if all(t.device.type in HOST for t in found):
            return _contents(batch)
        key = tuple((id(t), t._version) for t in found)  # noqa: SLF001
        self._batches.setdefault(key, batch)
        return key

    def _forward(self, model: nn.Module, batch: Batch, losses: Losses) -> tuple[Tensor, int]:
        """The losses, and how many bytes their graph keeps, where those are counted."""
        if not self._bounded:
            return losses(model, batch), 0
        idle = [*model.parameters(), *model.buffers(), *tensors(batch)]
        return saved_for_backward_bytes(lambda: losses(model, batch), idle, keep=True)

    def admits(self, size: int) -> bool:
        """Whether so many more bytes may be kept; if so they are counted."""
        if size > self._memory:
            return False
        self._memory -= size
        return True


def _handed_out(entries: Tensor) -> Tensor:
    return entries if entries.device.type in HOST else entries.cpu()


class _Tape:
    """The graph of one forward pass, and the gradients that were pulled back through it."""

    def __init__(self, owner: CachedLosses, entries: Tensor, parameters: list[nn.Parameter]) -> None:
        self.owner, self.entries, self.parameters = owner, entries, parameters
        self.handed_out: Tensor | None = None
        self.pulled: dict[Hashable, tuple[int, tuple[Tensor, ...]]] = {}
        self.shifts = all(torch.finfo(t.dtype).tiny <= SMALLEST_NORMAL for t in (entries, *parameters))

    def pull(self, weights: Tensor) -> tuple[Tensor, ...]:
        """The gradients of the losses so weighted."""
        exponent = _exponent(weights) if self.shifts else 0
        key = _contents(_shifted(weights, -exponent))
        if key not in self.pulled:
            there = weights.to(self.entries.device, non_blocking=True)
            found = tuple(grad(self.entries, self.parameters, there, keep_graph=True))
            if not self.owner.admits(sum(part.numel() * part.itemsize for part in found)):
                return found
            self.pulled[key] = exponent, found
        before, found = self.pulled[key]
        # A loop may overwrite what it gets, so it gets copies.
        return tuple(_shifted(part, exponent - before) for part in found)


class _Replayed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tape: _Tape, losses: Tensor, *_: Tensor) -> Tensor:
        ctx.tape = tape
        return losses.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return None, None, *ctx.tape.pull(gradients[0])


def _exponent(weights: Tensor) -> int:
    """That of the largest weight; 0 where there is none, or it is too far from 1 to be shifted safely."""
    largest = float(weights.detach().abs().max()) if weights.numel() else 0.0
    exponent = math.frexp(largest)[1] if math.isfinite(largest) else 0
    return exponent if abs(exponent) <= FARTHEST else 0


def _shifted(tensor: Tensor, exponent: int) -> Tensor:
    """A copy, times a power of two."""
    return tensor * 2.0**exponent if exponent else tensor.clone()


def _contents(batch: Batch) -> Hashable:
    """What tells batches apart: every shape, dtype and byte."""
    found: list[Hashable] = []

    def note(tensor: Tensor) -> Tensor:
        given = tensor.detach().cpu()
        if given.dtype == torch.bfloat16:  # numpy has none
            given = given.view(torch.int16)
        found.append((tensor.shape, tensor.dtype, given.numpy().tobytes()))
        return tensor

    map_tensors(note, batch)
    return tuple(found)
