"""The backward passes of one window, and what was done to the gradient around them.

A gradient that is accumulated is zero before the first pass, and between two passes nobody touches it. Where
it is not so, something was left from before, was dropped, or was scaled while more was still to be added.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from suite.watch.seen import UNCHANGED, Around, local


class BackwardPasses:
    """What the gradient was before and after each backward pass of a window.

    Args:
        inner: the module that holds the parameters.
    """

    def __init__(self, inner: nn.Module) -> None:
        self.inner = inner
        self.dropped = self.overflowed = 0
        """Micro-batches since the last update whose gradient no update used."""
        self._depth = 0
        self.anew()

    def anew(self) -> None:
        """Nothing has been accumulated yet."""
        self.since_call = self.heard = False
        """Whether there was a pass since the last call, and one with a gradient that is not zero."""
        self.done = 0
        """How many micro-batches there were when the last pass ended."""
        self._zeroed = 0  # how many of them there were when the gradient was set to zero
        self._first = True
        self._norms: dict[str, float] | None = None  # after the last pass
        self._left: dict[str, Tensor] = {}
        self._between: dict[int, float] = {}

    def taken(self, calls: int, *, moved: bool, elsewhere: bool) -> tuple[int, Around]:
        """How many micro-batches of a window that is over were dropped, and what else was seen; a new begins.

        Args:
            calls: how many micro-batches it has.
            moved: whether parameters were changed since the first call.
            elsewhere: whether the gradient is accumulated where the parameters do not hold it.
        """
        # Where all were seen before, the last passes are of a batch that was handed over once.
        gone = self._zeroed if self._zeroed < calls and not elsewhere else 0
        dropped = self.dropped + gone
        between = {place - gone: factor for place, factor in self._between.items() if place >= gone}
        seen = Around(
            self._norms,
            {} if elsewhere else between,
            {} if elsewhere else self._left,
            dropped,
            self.overflowed,
            moved,
        )
        self.dropped = self.overflowed = 0
        self.anew()
        return gone, seen

    def drop(self, count: int, *, overflowed: bool = False) -> None:
        """The gradient of so many micro-batches is used by no update."""
        if overflowed or not math.isfinite(_size(self._norms or {})):
            self.overflowed += count
        else:
            self.dropped += count
        self.anew()

    def called(self) -> None:
        """The model is called: no pass is under way."""
        self.since_call, self._depth = False, 0

    def gone(self) -> bool:
        """Whether the gradient of the calls is gone, though no optimizer used it."""
        gradients = [p.grad for p in self.inner.parameters()]
        if all(gradient is None for gradient in gradients):
            return True
        return self.heard and not any(g is not None and bool(local(g).any()) for g in gradients)

    def begins(self, gradient: Tensor) -> None:
        """The first gradient of a pass comes."""
        self.since_call = True
        if self._depth == 0:  # a checkpoint's own pass is inside of another
            self._look_before()
        self._depth += 1
        self.heard = self.heard or bool(local(gradient.detach()).any())

    def ended(self, calls: int) -> None:
        """A pass is over, after so many calls."""
        self._depth = max(0, self._depth - 1)
        self.done = calls
        self._norms = gradient_norms(self.inner) or self._norms

    def _look_before(self) -> None:
        """Compare the gradient with what the pass before left of it."""
        norms = gradient_norms(self.inner)
        if norms is None:
            return
        size, last = _size(norms), None if self._norms is None else _size(self._norms)
        if self._first and 0.0 < size < math.inf:
            self._left = {
                n: p.grad.detach().clone() for n, p in self.inner.named_parameters() if p.grad is not None
            }
        if not self._first and last is not None:
            if size == 0.0 and last != 0.0:
                self._zeroed, self._left = self.done, {}
            elif 0.0 < last < math.inf and abs(size / last - 1) > UNCHANGED:
                self._between[self.done - 1] = size / last
        self._first = False


def gradient_norms(model: nn.Module) -> dict[str, float] | None:
    """The norm of each parameter's gradient; None where they are not here."""
    held = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    if any(hasattr(g, "full_tensor") or g.is_sparse for g in held.values()):
        return None
    if not held:  # optimizers took them, or there were none
        return {}
    norms = [torch.linalg.vector_norm(g, dtype=torch.float64).cpu() for g in held.values()]
    return dict(zip(held, torch.stack(norms).tolist(), strict=True))


def _size(norms: Mapping[str, float]) -> float:
    return math.hypot(*norms.values())
