"""How large it is to compute the gradients of a batch, told by one forward pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from suite.engines.memory_plan import Workload
from suite.engines.sharing import sharing
from suite.errors import CaseError, UsageError
from suite.loops import batch as batches
from suite.loops.batch import Batch
from suite.loops.loop import Losses
from suite.machine.allocations import DifferentiatesInside, peak_tensor_bytes, saved_for_backward_bytes


def size_of(model: nn.Module, batch: Batch, losses: Losses) -> Workload:
    """How large it all is, from one forward pass that keeps nothing.

    Refused are losses that no engine could differentiate, before any fails obscurely.

    Raises:
        UsageError: The losses are not `[samples]` or `[samples, parts]`.
        CaseError: They are no finite real numbers, or depend on no parameter.
    """
    require_work(model, batch)
    model = sharing(model)
    entries, saved, inner = _forward(model, batch, losses)
    return workload(model, batch, entries, saved, inner=inner)


def require_work(model: nn.Module, batch: Batch) -> None:
    """Make sure that there is something to compute.

    Raises:
        UsageError: The batch has no sample.
        CaseError: The model has no parameter that is trained.
    """
    if batches.size(batch) == 0:
        raise UsageError("the batch has no sample")
    if not any(p.requires_grad for p in model.parameters()):
        raise CaseError("the model has no parameter that requires a gradient")


def workload(model: nn.Module, batch: Batch, entries: object, saved: int, *, inner: bool) -> Workload:
    """How large it all is, given what a forward pass gave.

    Args:
        model: of the pass.
        batch: of samples along the first axis.
        entries: what should be the unreduced losses.
        saved: bytes that the pass saves for its backward pass.
        inner: whether the losses take derivatives themselves.

    Raises:
        UsageError: The losses are not `[samples]` or `[samples, parts]`.
        CaseError: They are no finite real numbers, or depend on no parameter.
    """
    samples = batches.size(batch)
    if not isinstance(entries, Tensor) or entries.ndim not in (1, 2) or len(entries) != samples:
        given = list(entries.shape) if isinstance(entries, Tensor) else type(entries).__name__
        raise UsageError(
            f"losses(model, batch) gave {given}; for {samples} samples it must be unreduced, "
            f"[{samples}] or [{samples}, parts]: use reduction='none' and sum over each sample's elements"
        )
    if not entries.is_floating_point():
        raise CaseError(
            f"the losses are {str(entries.dtype).removeprefix('torch.')}; they must be real numbers"
        )
    if not bool(torch.isfinite(entries).all()):
        bad = ~torch.isfinite(entries.detach())
        first = int(bad.nonzero()[0, 0])
        raise CaseError(
            f"{int(bad.sum())} of the {entries.numel()} losses are nan or infinite, the first that of "
            f"sample {first}"
        )
    if not entries.requires_grad:
        raise CaseError("the losses depend on no parameter that requires a gradient")
    gradient = sum(p.numel() * p.itemsize for p in model.parameters() if p.requires_grad)
    return Workload(samples, entries.numel(), gradient, saved, inner)


def _forward(model: nn.Module, batch: Batch, losses: Losses) -> tuple[Tensor, int, bool]:
    """The losses, how many bytes their backward pass would need, and whether they have one inside.

    What it would need is held only where they have.
    """
    idle = [*model.parameters(), *model.buffers(), *batches.tensors(batch)]

    def forward() -> Tensor:
        return losses(model, batch)

    try:
        return *saved_for_backward_bytes(forward, idle), False
    except DifferentiatesInside:
        return *saved_for_backward_bytes(forward, idle, keep=True), True
    except RuntimeError as error:
        if "saved tensor" not in str(error):
            raise
        # torch.func inside the losses admits no hooks: count all that they hold.
        found: list[Tensor] = []
        most, _ = peak_tensor_bytes(lambda: found.append(forward()), idle)
        return found[0], most, True
