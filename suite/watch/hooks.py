"""Where a training run is looked at: the optimizers' steps, and the model's calls before an audited one.

A *window* is all that happens from one update to the next. Only windows whose update is audited are looked
into: in all others one function is called at the optimizer's step, and nothing at the model's calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from suite.watch.calls import ModelCalls, in_backward
from suite.watch.errors import UnexpectedUpdateError
from suite.watch.gradient import loss_scale, used_gradient
from suite.watch.seen import SeenUpdate


class Listener(Protocol):
    """Who is told what was seen."""

    def used(self, seen: SeenUpdate) -> None:
        """An optimizer is about to use a gradient, or has just used it."""

    def failed(self, error: Exception) -> None:
        """Looking went wrong."""


class Hooks:
    """The hooks of one watch.

    Args:
        model: the module that the loop calls.
        inner: the module inside its wrappers, which holds the parameters.
        every: one update in so many is audited, the first among them.
        listener: is told.
        frozen: gives a copy of the model as it is now.
    """

    def __init__(
        self,
        model: nn.Module,
        inner: nn.Module,
        every: int,
        listener: Listener,
        frozen: Callable[[], nn.Module],
    ) -> None:
        self.inner = inner
        self.every, self.listener, self.frozen = every, listener, frozen
        self.update = 0
        """The number of the update that the run is working on, from 0."""
        self.steps = self.unused = 0
        self.calls = ModelCalls(model, inner, self._begins, listener.failed)
        self._names = {id(p): name for name, p in inner.named_parameters()}
        self._mine: dict[int, tuple[Optimizer, bool]] = {}
        self._idle: Optimizer | None = None  # the only one, while nobody looks
        self._handles: list[RemovableHandle] = []
        # The update whose optimizers are stepping: one, or several that share it.
        self._stepped: set[int] = set()
        self._audited = False
        self._seen = SeenUpdate({}, [])
        self._covered: set[str] | None = None

    def begin(self) -> None:
        """Look from now on."""
        self._handles = [register_optimizer_step_pre_hook(self._before)]
        self.calls.look(due=True)

    def end(self) -> None:
        """Look no more; an update whose optimizers have stepped is told."""
        self._tell()
        self.unused = self.calls.unused
        self.calls.look(due=False)
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @property
    def stepping(self) -> bool:
        """Whether an optimizer has stepped in this update."""
        return bool(self._stepped)

    def _begins(self) -> None:
        """A micro-batch comes: the update whose optimizers have stepped is over."""
        if self._stepped:
            self._next()

    # The optimizer's step.

    def _before(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, Any] | None:
        if torch.compiler.is_compiling():  # a compiled step: the audit is not to be compiled into it
            found: tuple[Any, Any] | None = self._before_compiled(optimizer, args, kwargs)
            return found
        if optimizer is self._idle and len(args) == 1 and not kwargs:  # nobody looks
            number = self.update + 1
            if number % self.every and (number + 1) % self.every:
                self.update = number
                self.steps += 1
                return None
        known = self._mine.get(id(optimizer))
        if known is None:
            known = self._mine[id(optimizer)] = (optimizer, self._trains(optimizer))
        if not known[1]:
            return None
        self.steps += 1
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)  # args[0] is the optimizer
        number = self.update + (id(optimizer) in self._stepped)
        if closure is None or (number % self.every and (number + 1) % self.every):
            self._step(optimizer, partial(used_gradient, optimizer, self._names))
            return None

        if len(self._handles) == 1:  # only a closure needs it, and each hook costs each update
            self._handles.append(register_optimizer_step_post_hook(self._after))

        def closed() -> Any:  # the backward pass is in there
            loss = closure()
            if not self.calls.paused:
                self._step(optimizer, partial(used_gradient, optimizer, self._names))
                self.calls.paused = True  # what it evaluates at other points is its own affair
            return loss

        return args[:1], {**kwargs, "closure": closed}

    @torch._dynamo.disable  # type: ignore[untyped-decorator]  # noqa: SLF001
    def _before_compiled(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, Any] | None:
        return self._before(optimizer, args, kwargs)

    def _after(self, *_: Any) -> None:
        self.calls.paused = False

    def _trains(self, optimizer: Optimizer) -> bool:
        return any(id(p) in self._names for group in optimizer.param_groups for p in group["params"])

    @property
    def due(self) -> bool:
        """Whether the next step of an optimizer that is none of torch's is audited."""
        return (self.update + (id(None) in self._stepped)) % self.every == 0

    def step_elsewhere(
        self,
        gradient: Mapping[str, Tensor] | None,
        before: Mapping[str, float] | None,
        at: nn.Module | None,
    ) -> None:
        """An optimizer that is none of torch's uses a gradient.

        Args:
            gradient: by parameter name; None where it is not known.
            before: the norms that it had before it was clipped.
            at: a copy of the model at the parameters of the update; None while the model still has them.
        """
        self.steps += 1
        self._step(None, lambda: gradient, before, at)

    def _step(
        self,
        optimizer: Optimizer | None,
        gradient: Callable[[], Mapping[str, Tensor] | None],
        before: Mapping[str, float] | None = None,
        at: nn.Module | None = None,
    ) -> None:
        """One of the optimizers of an update is about to step."""
        if id(optimizer) in self._stepped:
            self._next()
        if not self._stepped:
            calls, around = self.calls.taken(elsewhere=optimizer is None)
            self._seen = SeenUpdate({}, calls, around=around)
            self._audited = self.update % self.every == 0
            self.calls.look(due=(self.update + 1) % self.every == 0)
        self._stepped.add(id(optimizer))
        if not self._audited:
            alone = sum(trains for _, trains in self._mine.values()) == 1
            self._idle = optimizer if alone and not self.calls.looking and self._seen.at is None else None
            return
        self._idle = None
        try:
            self._gather(gradient(), before, at)
        except UnexpectedUpdateError:
            raise
        except Exception as error:  # noqa: BLE001  an audit never ends a training
            self._forget()
            self.listener.failed(error)

    def _next(self) -> None:
        """The update whose optimizers have stepped is over."""
        self._tell()
        self._stepped.clear()
        self.update += 1

    def _gather(
        self, gradient: Mapping[str, Tensor] | None, before: Mapping[str, float] | None, at: nn.Module | None
    ) -> None:
        if gradient is None:
            return  # it overflowed, or nobody knows it
        seen = self._seen
        self._seen = replace(
            seen,
            gradient={**seen.gradient, **gradient},
            loss_scale=loss_scale(),
            around=seen.around if before is None else replace(seen.around, norms=before),
            at=at or seen.at,
        )
        if self._complete():
            self._audited = False
            self._report()
        elif self._seen.at is None:
            self._seen = replace(self._seen, at=self.frozen())

    def _complete(self) -> bool:
        """Whether no other optimizer is still to step in this update, as far as that is known."""
        if in_backward():
            return False
        if self._covered is not None:
            return self._seen.gradient.keys() >= self._covered
        return all(
            name in self._seen.gradient for name, p in self.inner.named_parameters() if p.requires_grad
        )

    def _tell(self) -> None:
        """Tell the update that waited for other optimizers to step."""
        if self._seen.at is None:
            return
        try:
            self._report()
        except UnexpectedUpdateError:
            raise
        except Exception as error:  # noqa: BLE001  an audit never ends a training
            self.listener.failed(error)

    def _report(self) -> None:
        seen = self._seen
        self._forget()
        self._covered = set(seen.gradient)
        self.listener.used(seen)

    def _forget(self) -> None:
        self._seen = SeenUpdate({}, [])
