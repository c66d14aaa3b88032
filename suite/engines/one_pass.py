"""One forward pass of the whole batch, for all who need one: the sizes, the engine, and its check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from suite.engines.engine import Refused
from suite.engines.memory_plan import Workload
from suite.engines.size import workload
from suite.loops import batch as batches
from suite.loops.batch import Batch
from suite.loops.loop import Losses
from suite.machine.allocations import DifferentiatesInside, Ledger


class OnePass:
    """Losses whose first forward pass with gradients is remembered, with its graph, and measured.

    Args:
        losses: the unreduced losses.
        size: of the task, where it is known already; it is measured if None.
        memory: how many bytes the graph may take; what is more is let go as it comes, and counted.
        admits: whether a task of this size may be done at once.
    """

    def __init__(
        self, losses: Losses, size: Workload | None, memory: int, admits: Callable[[Workload], bool]
    ) -> None:
        self._losses = losses
        self._memory = memory
        self._admits = admits
        self.size = size
        self.entries: Tensor | None = None

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """The losses.

        Raises:
            TooLarge: It takes more than is admitted; `size` says how much.
            UsageError: The losses are not `[samples]` or `[samples, parts]`.
            CaseError: They are no finite real numbers, or depend on no parameter.
            Unmeasured: The losses admit no hooks.
        """
        if self.entries is not None or not torch.is_grad_enabled():
            return self._losses(model, batch)
        losses = self._measured if self.size is None else self._losses
        self.entries = entries = losses(model, batch)
        return entries

    def _measured(self, model: nn.Module, batch: Batch) -> Tensor:
        kept = _Kept([*model.parameters(), *model.buffers(), *batches.tensors(batch)], self._memory)
        try:
            with saved_tensors_hooks(kept.pack, kept.unpack):
                entries = self._losses(model, batch)
        except (RuntimeError, DifferentiatesInside) as error:
            if isinstance(error, RuntimeError) and "saved tensor" not in str(error):
                raise
            raise Unmeasured("takes derivatives in its losses, which admit no hooks") from error
        self.size = workload(model, batch, entries, kept.ledger.total, inner=kept.read)
        if kept.overflowed or not self._admits(self.size):
            raise TooLarge("needs more memory for the batch at once than is allowed")
        return entries


class TooLarge(Refused):
    """The whole batch at once is no matter of course: it wants a plan."""


class Unmeasured(Refused):
    """What the graph takes must be found out in another way."""


def keeps_graph(losses: Losses) -> bool:
    """Whether the graph of these losses is wanted again, after the backward pass of an engine."""
    return isinstance(losses, OnePass)


class _Kept:
    """What a graph saves for its backward pass: counted, and kept while it fits.

    Args:
        idle: tensors that there were before, which do not count.
        memory: how many bytes may be kept.
    """

    def __init__(self, idle: Sequence[Tensor], memory: int) -> None:
        self.ledger = Ledger(idle)
        self.overflowed = False
        self.read = False
        self._memory = memory
        self._tensors: list[list[Any]] = []

    def pack(self, tensor: Tensor) -> list[Any]:
        """What the graph holds in place of the tensor."""
        self.ledger.note(tensor)
        if self.ledger.total > self._memory:
            self.overflowed = True
            for before in self._tensors:
                before.clear()
            self._tensors.clear()
        saved: list[Any] = [] if self.overflowed else [tensor.detach(), tensor._version]  # noqa: SLF001  as autograd
        if saved:
            self._tensors.append(saved)
        return saved

    def unpack(self, saved: list[Any]) -> Tensor:
        """The tensor, if it is as it was.

        Raises:
            RuntimeError: It was overwritten.
            DifferentiatesInside: It was let go.
        """
        self.read = True
        if not saved:
            raise DifferentiatesInside
        tensor: Tensor
        tensor, version = saved
        # Autograd itself does not look where there are hooks.
        if tensor._version != version:  # noqa: SLF001  as autograd
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an "
                "inplace operation"
            )
        return tensor
