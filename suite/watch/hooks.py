"""Where a training run is looked at: the model's forward calls, and the optimizer's step.

A *window* is all that happens from one update to the next. Only windows whose update is audited are looked
into: in all others two functions are called at the optimizer's step, and nothing at the model's calls.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from suite.watch.errors import UnexpectedUpdateError
from suite.watch.microbatch import Call, Circumstances, as_batch, called_with, same_storage


@dataclass(frozen=True, eq=False)
class SeenUpdate:
    """What was seen of one update.

    Args:
        gradient: by parameter name, as the optimizer uses it.
        calls: the micro-batches since the update before.
        at: a copy of the model at the parameters of the update; None while the model itself still has them.
        before: by parameter name, the norm that the gradient had after the last backward pass, where that
            was seen.
        loss_scale: by what a GradScaler had multiplied the loss.
    """

    gradient: Mapping[str, Tensor]
    calls: list[Call]
    at: nn.Module | None = None
    before: Mapping[str, float] | None = None
    loss_scale: float = 1.0


FRAMES = 12
"""How far above the optimizer's step a GradScaler is looked for."""


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
        self.model, self.inner = model, inner
        self.every, self.listener, self.frozen = every, listener, frozen
        self.update = 0
        """The number of the update that the run is working on, from 0."""
        self.seen_calls = self.quiet_calls = self.steps = 0
        self.handed_over = False
        self.calls: list[Call] = []
        self._given: list[Any] = []  # what the calls were made with, to tell recomputations
        self._names = {id(p): name for name, p in inner.named_parameters()}
        self._mine: dict[int, tuple[Optimizer, bool]] = {}
        self._in_closure = False
        self._idle: Optimizer | None = None  # the only one, while nobody looks
        self._handles: list[RemovableHandle] = []
        self._looking: list[RemovableHandle] = []
        self._backwards = self._heard = False  # since the last call
        self._norms: dict[str, float] | None = None  # after the last backward pass
        # The update whose optimizers are stepping: one, or several that share it.
        self._stepped: set[int] = set()
        self._audited = False
        self._window: list[Call] = []
        self._gathered: dict[str, Tensor] = {}
        self._copy: nn.Module | None = None
        self._covered: set[str] | None = None
        self._before_step: Mapping[str, float] | None = None
        self._loss_scale = 1.0

    def begin(self) -> None:
        """Look from now on."""
        self._handles = [
            register_optimizer_step_pre_hook(self._before),
            register_optimizer_step_post_hook(self._after),
        ]
        self._look(due=True)

    def end(self) -> None:
        """Look no more; an update whose optimizers have stepped is told."""
        self._tell()
        self._look(due=False)
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @property
    def stepping(self) -> bool:
        """Whether an optimizer has stepped in this update."""
        return bool(self._stepped)

    def hand_over(self, batch: Any) -> None:
        """A micro-batch that the loop is about to train on, where its targets never reach the model."""
        self.handed_over = True
        if self._looking:
            self._note(batch)

    # The model's calls.

    def _look(self, *, due: bool) -> None:
        """Look at the model's calls, or look away."""
        if due and not self._looking:
            call = self.model.register_forward_pre_hook(_Forward(self), prepend=True, with_kwargs=True)
            trained = [p for p in self.inner.parameters() if p.requires_grad and p.is_leaf]
            back = torch.autograd.graph.register_multi_grad_hook(trained, self._backward, mode="any")
            self._looking = [call, back]
        elif not due and self._looking:
            for handle in self._looking:
                handle.remove()
            self._looking, self.calls, self._given = [], [], []

    def _backward(self, gradient: Tensor) -> None:
        self._backwards = True
        torch.autograd.Variable._execution_engine.queue_callback(self._ended)  # noqa: SLF001
        self._heard = self._heard or bool(_local(gradient.detach()).any())

    def _ended(self) -> None:
        """A backward pass is over."""
        try:
            held = {name: p.grad for name, p in self.inner.named_parameters() if p.grad is not None}
            if not held or any(hasattr(g, "full_tensor") or g.is_sparse for g in held.values()):
                return  # optimizers took them, or they lie elsewhere
            norms = torch.stack([norm.double().cpu() for norm in torch._foreach_norm(list(held.values()))])  # noqa: SLF001
            self._norms = dict(zip(held, norms.tolist(), strict=True))
        except Exception as error:  # noqa: BLE001  an audit never ends a training
            self.listener.failed(error)

    def called(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """The model is about to be called."""
        if not torch.is_grad_enabled():
            self.quiet_calls += 1
            return
        self.seen_calls += 1
        if self.handed_over or self._in_closure:
            return
        given = called_with(self.inner, args, kwargs)
        if _in_backward() and any(same_storage(given, other) for other in self._given):
            return  # a checkpoint computes once more what was called before
        self._note(given)

    def _note(self, given: Any) -> None:
        if self._stepped:
            self._next()
        if self.calls and self._backwards and self._discarded():
            self.calls, self._given = [], []
        self._backwards = self._heard = False
        batch, left = as_batch(given)
        self._given.append(given)
        self.calls.append(Call(batch, Circumstances.now(self.inner), left_out=left))

    def _discarded(self) -> bool:
        """Whether the gradient of the calls is gone, though no optimizer used it: it overflowed, say."""
        gradients = [p.grad for p in self.inner.parameters()]
        if all(gradient is None for gradient in gradients):
            return True
        return self._heard and not any(g is not None and bool(_local(g).any()) for g in gradients)

    # The optimizer's step.

    def _before(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, Any] | None:
        if (
            optimizer is self._idle and len(args) == 1 and not kwargs
        ):  # between audited updates: nothing to do
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
            self._step(optimizer, partial(self._gradient, optimizer))
            return None

        def closed() -> Any:  # the backward pass is in there
            loss = closure()
            if not self._in_closure:
                self._step(optimizer, partial(self._gradient, optimizer))
                self._in_closure = True  # what it evaluates at other points is its own affair
            return loss

        return args[:1], {**kwargs, "closure": closed}

    def _after(self, *_: Any) -> None:
        self._in_closure = False

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

    def forget_calls(self) -> None:
        """The micro-batches since the last update are part of none."""
        self.calls, self._given = [], []

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
            self._window, self.calls, self._given = self.calls, [], []
            self._before_step, self._norms = self._norms, None
            self._audited = self.update % self.every == 0
            self._look(due=(self.update + 1) % self.every == 0)
        self._stepped.add(id(optimizer))
        if not self._audited:
            alone = sum(trains for _, trains in self._mine.values()) == 1
            self._idle = optimizer if alone and not self._looking and self._copy is None else None
            return
        self._idle = None
        try:
            self._loss_scale = _loss_scale()
            self._before_step = before or self._before_step
            self._copy = at or self._copy
            self._gather(gradient())
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

    def _gather(self, gradient: Mapping[str, Tensor] | None) -> None:
        if gradient is None:
            return  # it overflowed, or nobody knows it
        self._gathered |= gradient
        if self._complete():
            self._audited = False
            self._report()
        elif self._copy is None:
            self._copy = self.frozen()

    def _complete(self) -> bool:
        """Whether no other optimizer is still to step in this update, as far as that is known."""
        if _in_backward():
            return False
        if self._covered is not None:
            return self._gathered.keys() >= self._covered
        return all(name in self._gathered for name, p in self.inner.named_parameters() if p.requires_grad)

    def _gradient(self, optimizer: Optimizer) -> dict[str, Tensor] | None:
        """What this optimizer is about to use; None where it will use none (it overflowed)."""
        scale = getattr(optimizer, "grad_scale", None)
        if isinstance(scale, Tensor):  # it unscales inside its step
            found = getattr(optimizer, "found_inf", None)
            if isinstance(found, Tensor) and bool(found):
                return None
        gradient = {}
        for group in optimizer.param_groups:
            for p in group["params"]:
                if id(p) in self._names and p.requires_grad:
                    part = torch.zeros_like(p) if p.grad is None else p.grad
                    whole = full(part.to_dense() if part.is_sparse else part).detach().clone()
                    gradient[self._names[id(p)]] = whole / scale if isinstance(scale, Tensor) else whole
        return gradient

    def _tell(self) -> None:
        """Tell the update that waited for other optimizers to step."""
        if self._copy is None:
            return
        try:
            self._report()
        except UnexpectedUpdateError:
            raise
        except Exception as error:  # noqa: BLE001  an audit never ends a training
            self.listener.failed(error)

    def _report(self) -> None:
        seen = SeenUpdate(self._gathered, self._window, self._copy, self._before_step, self._loss_scale)
        self._forget()
        self._covered = set(seen.gradient)
        self.listener.used(seen)

    def _forget(self) -> None:
        self._gathered, self._window, self._copy = {}, [], None


def _in_backward() -> bool:
    return torch._C._current_graph_task_id() != -1  # noqa: SLF001  nothing public says it


def _loss_scale() -> float:
    """By what the GradScaler that calls the optimizer has multiplied the loss; 1 where none does."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001
    for _ in range(FRAMES):
        if frame is None:
            break
        caller = frame.f_locals.get("self")
        if isinstance(caller, GradScaler):
            return caller.get_scale()
        frame = frame.f_back
    return 1.0


class _Forward:
    """The hook on the model: a copy of the model has none."""

    def __init__(self, hooks: Hooks | None) -> None:
        self.hooks = hooks

    @torch._dynamo.disable  # type: ignore[untyped-decorator]  # noqa: SLF001
    def __call__(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.hooks is None:
            return
        try:
            self.hooks.called(args, kwargs)
        except UnexpectedUpdateError:
            raise
        except Exception as error:  # noqa: BLE001  an audit never ends a training
            self.hooks.listener.failed(error)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Forward:
        return _Forward(None)

    def __reduce__(self) -> Any:
        return _Forward, (None,)


def full(tensor: Tensor) -> Tensor:
    """A sharded tensor as a whole: all ranks must ask at the same time."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor
