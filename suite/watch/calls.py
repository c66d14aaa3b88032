"""The model's calls and the backward passes of one window: its micro-batches, in order."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from suite.watch.errors import UnexpectedUpdateError
from suite.watch.microbatch import Call, Circumstances, as_batch, called_with, same_storage
from suite.watch.seen import UNCHANGED, gradient_norms, local


class ModelCalls:
    """The micro-batches since the last update, while somebody looks.

    Args:
        model: the module that the loop calls.
        inner: the module inside its wrappers, which holds the parameters.
        begins: is called before a micro-batch is noted.
        failed: is told what went wrong in looking.
    """

    def __init__(
        self,
        model: nn.Module,
        inner: nn.Module,
        begins: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.model, self.inner, self.begins, self.failed = model, inner, begins, failed
        self.seen = self.quiet = 0
        """How many calls there were, with gradients enabled and without."""
        self.handed_over = False
        self.paused = False
        """Whether calls are to be passed over: a closure evaluates at other points."""
        self._calls: list[Call] = []
        self._given: list[Any] = []  # what the calls were made with, to tell recomputations
        self._looking: list[RemovableHandle] = []
        self._bare: list[Tensor] = []  # parameters that had no hooks before
        self._backwards = self._heard = False  # since the last call
        self._norms: dict[str, float] | None = None  # after the last backward pass
        self._between: dict[int, float] = {}

    @property
    def looking(self) -> bool:
        """Whether the model's calls are looked at."""
        return bool(self._looking)

    def look(self, *, due: bool) -> None:
        """Look at the model's calls, or look away."""
        if due and not self._looking:
            call = self.model.register_forward_pre_hook(_Forward(self), prepend=True, with_kwargs=True)
            trained = [p for p in self.inner.parameters() if p.requires_grad and p.is_leaf]
            self._bare = [p for p in trained if p._backward_hooks is None]  # noqa: SLF001
            back = torch.autograd.graph.register_multi_grad_hook(trained, self._backward, mode="any")
            self._looking = [call, back]
        elif not due and self._looking:
            for handle in self._looking:
                handle.remove()
            self._looking = []
            _without_hooks(self._bare)
            self.forget()

    def forget(self) -> None:
        """The micro-batches since the last update are part of none."""
        self._calls, self._given, self._between = [], [], {}

    def taken(self) -> tuple[list[Call], dict[str, float] | None, dict[int, float]]:
        """The micro-batches of a window that is over, the norms after its last backward pass, `between`."""
        window = self._calls, self._norms, self._between
        self._norms = None
        self.forget()
        return window

    def hand_over(self, batch: Any) -> None:
        """A micro-batch that the loop is about to train on, where its targets never reach the model."""
        self.handed_over = True
        if self._looking:
            self._note(batch)

    def called(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """The model is about to be called."""
        if not torch.is_grad_enabled():
            self.quiet += 1
            return
        self.seen += 1
        if self.handed_over or self.paused:
            return
        given = called_with(self.inner, args, kwargs)
        if in_backward() and any(same_storage(given, other) for other in self._given):
            return  # a checkpoint computes once more what was called before
        self._note(given)

    def _note(self, given: Any) -> None:
        self.begins()
        if self._calls and self._backwards:
            if self._discarded():
                self.forget()
            else:
                self._compare()
        self._backwards = self._heard = False
        batch, left = as_batch(given)
        self._given.append(given)
        self._calls.append(Call(batch, Circumstances.now(self.inner), left_out=left))

    def _discarded(self) -> bool:
        """Whether the gradient of the calls is gone, though no optimizer used it: it overflowed, say."""
        gradients = [p.grad for p in self.inner.parameters()]
        if all(gradient is None for gradient in gradients):
            return True
        return self._heard and not any(g is not None and bool(local(g).any()) for g in gradients)

    def _compare(self) -> None:
        """Whether the gradient was changed after the backward pass, though more is to be added."""
        norms = gradient_norms(self.inner) if self._norms else None
        if not norms or not self._norms:
            return
        before, after = (math.hypot(*each.values()) for each in (self._norms, norms))
        if 0.0 < before < math.inf and abs(after / before - 1) > UNCHANGED:
            self._between[len(self._calls) - 1] = after / before

    # The backward pass.

    def _backward(self, gradient: Tensor) -> None:
        self._backwards = True
        torch.autograd.Variable._execution_engine.queue_callback(self._ended)  # noqa: SLF001
        self._heard = self._heard or bool(local(gradient.detach()).any())

    def _ended(self) -> None:
        """A backward pass is over."""
        try:
            self._norms = gradient_norms(self.inner) or self._norms
        except Exception as error:  # noqa: BLE001  an audit never ends a training
            self.failed(error)


def _without_hooks(bare: list[Tensor]) -> None:
    """Parameters as they were before they had hooks: torch goes on calling even an empty list of them.

    That is a few percent of a small update.
    """
    for p in bare:
        if not p._backward_hooks:  # noqa: SLF001
            p._backward_hooks = None  # noqa: SLF001


def in_backward() -> bool:
    """Whether autograd is at work."""
    return torch._C._current_graph_task_id() != -1  # noqa: SLF001  nothing public says it


class _Forward:
    """The hook on the model: a copy of the model has none."""

    def __init__(self, calls: ModelCalls | None) -> None:
        self.calls = calls

    @torch._dynamo.disable  # type: ignore[untyped-decorator]  # noqa: SLF001
    def __call__(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.calls is None:
            return
        try:
            self.calls.called(args, kwargs)
        except UnexpectedUpdateError:
            raise
        except Exception as error:  # noqa: BLE001  an audit never ends a training
            self.calls.failed(error)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Forward:
        return _Forward(None)

    def __reduce__(self) -> Any:
        return _Forward, (None,)
