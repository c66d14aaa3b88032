"""The model's calls and the backward passes of one window: its micro-batches, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from suite.watch.errors import UnexpectedUpdateError
from suite.watch.microbatch import Call, Circumstances, as_batch, called_with, same_storage
from suite.watch.passes import BackwardPasses
from suite.watch.seen import Around


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
        self._passes = BackwardPasses(inner)
        self._versions: list[tuple[int, int]] = []  # of the parameters at the first call

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
            self._calls, self._given = [], []
            self._passes = BackwardPasses(self.inner)

    def forget(self, *, overflowed: bool = False) -> None:
        """The micro-batches since the last update are part of none."""
        self._passes.drop(len(self._calls), overflowed=overflowed)
        self._calls, self._given = [], []

    def taken(self, *, elsewhere: bool) -> tuple[list[Call], Around]:
        """The micro-batches of a window that is over, and what was done to the gradient in it.

        Args:
            elsewhere: whether the gradient is accumulated where the parameters do not hold it.
        """
        moved = bool(self._calls) and self._versions != _versions(self.inner)
        gone, around = self._passes.taken(len(self._calls), moved=moved, elsewhere=elsewhere)
        window = self._calls[gone:]
        self._calls, self._given = [], []
        return window, around

    @property
    def unused(self) -> int:
        """How many micro-batches since the last update have a gradient that no update used."""
        return self._passes.done + self._passes.dropped

    def hand_over(self, batch: Any) -> None:
        """A micro-batch that the loop is about to train on, where its targets never reach the model."""
        if not self.handed_over:  # calls before the first are none of these
            self._calls, self._given = [], []
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
        if self._calls and self._passes.since_call and self._passes.gone():
            self.forget()
        self._passes.called()
        if not self._calls:
            self._passes.anew()
            self._versions = _versions(self.inner)
        batch, left = as_batch(given)
        self._given.append(given)
        self._calls.append(Call(batch, Circumstances.now(self.inner), left_out=left))

    # The backward pass.

    def _backward(self, gradient: Tensor) -> None:
        torch.autograd.Variable._execution_engine.queue_callback(self._ended)  # noqa: SLF001
        if self.paused:
            return
        try:
            self._passes.begins(gradient)
        except Exception as error:  # noqa: BLE001  an audit never ends a training
            self.failed(error)

    def _ended(self) -> None:
        """A backward pass is over."""
        if self.paused:
            return
        try:
            self._passes.ended(len(self._calls))
        except Exception as error:  # noqa: BLE001  an audit never ends a training
            self.failed(error)


def _versions(model: nn.Module) -> list[tuple[int, int]]:
    """What changes where parameters are changed in place or put elsewhere; nothing of those in shards."""
    return [(p._version, p.data_ptr()) for p in model.parameters() if not hasattr(p, "full_tensor")]  # noqa: SLF001


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
