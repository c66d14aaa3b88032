"""How many bytes of tensors an action holds, counted tensor by tensor on any device."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Result = TypeVar("Result")


def peak_tensor_bytes(action: Callable[[], object], idle: Iterable[Tensor] = ()) -> tuple[int, int]:
    """The bytes of all tensors that are alive at once during `action`, at most, and that its result keeps.

    What a kernel takes and gives back within one operation is not seen.

    Args:
        action: what to do; its result counts.
        idle: tensors that there were before, which do not count.
    """
    counting = _Counting(idle)
    with counting:
        result = action()
    left = counting.ledger.now
    del result
    return counting.most, left


def saved_for_backward_bytes(
    action: Callable[[], Result], idle: Iterable[Tensor] = (), *, keep: bool = False
) -> tuple[Result, int]:
    """The result of a forward pass, and how many bytes its graph saves for a backward pass.

    Args:
        action: the forward pass.
        idle: tensors that there were before, which do not count.
        keep: whether the graph keeps them; if not, no backward pass is possible, and no memory is taken.

    Raises:
        DifferentiatesInside: The forward pass has a backward pass in it, and nothing was kept for that.
    """
    ledger = Ledger(idle)

    def pack(tensor: Tensor) -> Tensor | None:
        ledger.note(tensor)
        return tensor.detach() if keep else None

    def unpack(tensor: Tensor | None) -> Tensor:
        if tensor is None:
            raise DifferentiatesInside
        return tensor

    with saved_tensors_hooks(pack, unpack):
        result = action()
    return result, ledger.total


class DifferentiatesInside(Exception):  # noqa: N818  it is a property, not a fault
    """A forward pass that takes derivatives itself: a gradient penalty, forces, MAML."""


class Ledger:
    """The memory behind tensors, each counted once while it lives."""

    def __init__(self, idle: Iterable[Tensor]) -> None:
        self.now = 0
        self.total = 0
        self._known: dict[int, Any] = {}
        for tensor in idle:
            self.note(tensor)
        self.now = self.total = 0

    def note(self, tensor: Tensor) -> None:
        """Count what has not been counted."""
        if tensor.layout is not torch.strided:
            return
        storage = tensor.untyped_storage()
        key, size = id(storage), storage.nbytes()
        if key in self._known:
            return
        self._known[key] = weakref.ref(storage, lambda _: self._gone(key, size))
        self.now += size
        self.total += size

    def _gone(self, key: int, size: int) -> None:
        self.now -= size
        self._known.pop(key, None)


class _Counting(TorchDispatchMode):
    def __init__(self, idle: Iterable[Tensor]) -> None:
        super().__init__()
        self.ledger = Ledger(idle)
        self.most: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        # Arguments too: some memory comes from elsewhere than an operation.
        for leaf in tree_leaves((args, kwargs, result)):
            if isinstance(leaf, Tensor):
                self.ledger.note(leaf)
        self.most = max(self.most, self.ledger.now)
        return result
