"""The gradients of the units of a batch, from the first engine that passes the check."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from suite import batch as batches
from suite.autograd import grad
from suite.batch import Batch
from suite.engines.check import check
from suite.engines.engine import Engine, Refused, engines
from suite.engines.gradients import UnitGradients
from suite.errors import CaseError, UsageError
from suite.gram import Gram
from suite.protocols import Losses, Regulariser


@dataclass(frozen=True)
class Checked:
    """Gradients of units that agree with autograd, and which engine they came from.

    Args:
        gradients: the units' gradients; a regulariser's is the last.
        engine: the name of the engine that computed them.
        refused: the engines before it that were refused, with the reason.
    """

    gradients: UnitGradients
    engine: str
    refused: Mapping[str, str]

    @property
    def shape(self) -> tuple[int, int]:
        """`(units, params)`."""
        return self.gradients.shape

    @property
    def matrix(self) -> Tensor:
        """`[units, params]`, the parameters in the order of `model.named_parameters()`."""
        return torch.cat([block.flatten(1) for block in self.blocks.values()], dim=1)

    @property
    def blocks(self) -> Mapping[str, Tensor]:
        """By parameter name, `[units, *parameter.shape]`."""
        return self.gradients.blocks

    def gram(self) -> Gram:
        """`[units, units]` in float64: `G Gᵀ`."""
        return self.gradients.gram()

    def reduce(self, coefficients: ArrayLike) -> Tensor:
        """`[conventions, params]` the reduced gradients `C G` of coefficients `[conventions, units]`."""
        return self.gradients.reduce(coefficients)

    def directions(self, coefficients: ArrayLike) -> tuple[Tensor, Tensor]:
        """`[conventions, rank]` and `[rank, params]`, whose product the reduced gradients are."""
        return self.gradients.directions(coefficients)


def gradients(
    model: nn.Module,
    batch: Batch,
    losses: Losses,
    *,
    engine: str = "opacus",
    regulariser: Regulariser | None = None,
    memory: int | None = None,
) -> Checked:
    """The gradient of every unit of `batch`, checked against autograd.

    Args:
        model: left as it is, with its buffers and its `.grad`.
        batch: a tensor, or a tuple, list or dict of tensors, samples along the first axis.
        losses: `losses(model, batch)` gives the unreduced losses, `[samples]` or `[samples, parts]`.
        engine: the engine to try first. Where it cannot do the model, or fails the check, the
            engines after it take over; `.refused` says so.
        regulariser: `regulariser(model)` gives a scalar, whose gradient becomes the last unit.
        memory: how many bytes the gradients may take; half of what is free if None. An engine that
            would hold units × parameters beyond it is refused before it starts.

    Returns:
        The gradients, unit by unit (sample by sample, part by part within a sample).

    Raises:
        UsageError: There is no such engine, or the losses are not `[samples]` or `[samples, parts]`.
        CaseError: The losses are not finite, depend on no parameter, or no engine passed the check.
    """
    order = _order(engine)
    with torch.random.fork_rng(devices=_cuda(model)), torch.enable_grad():
        needed = _require_losses(model, batch, losses) * _bytes(model)
        allowed = _free(model) // 2 if memory is None else memory
        refused: dict[str, str] = {}
        for candidate in order:
            if candidate.materialises and needed > allowed:
                refused[candidate.name] = (
                    f"would hold {needed / 1e9:.3g} GB of gradients, {allowed / 1e9:.3g} GB are allowed"
                )
                continue
            try:
                with torch.random.fork_rng(devices=_cuda(model)):
                    found = candidate.compute(_copy(model), batch, losses)
                check(found, _copy(model), batch, losses)
            except Refused as reason:
                refused[candidate.name] = str(reason)
                continue
            if regulariser is not None:
                found = found.append(_penalty(_copy(model), regulariser))
            return Checked(found, candidate.name, refused)
    told = "; ".join(f"{name} {reason}" for name, reason in refused.items())
    raise CaseError(f"no engine gives right per-sample gradients: {told}")


def _order(name: str) -> list[Engine]:
    """The engine of this `name`, then those that take over from it."""
    asked = engines[name]
    return [asked, *(e for e in list(engines)[engines.names.index(name) + 1 :])]


def _copy(model: nn.Module) -> nn.Module:
    """A model of its own for each attempt: hooks, buffers and `.grad` of the original stay untouched."""
    return copy.deepcopy(model)


def _cuda(model: nn.Module) -> list[torch.device]:
    return [p.device for p in model.parameters() if p.is_cuda][:1]


def _bytes(model: nn.Module) -> int:
    """Of one gradient."""
    return sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)


def _free(model: nn.Module) -> int:
    """How many bytes are free where the model is; without bound where nobody knows."""
    cuda = _cuda(model)
    if cuda:  # uncovered: needs a CUDA device
        return int(torch.cuda.mem_get_info(cuda[0])[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):  # uncovered: only Linux has /proc
        return sys.maxsize


def _require_losses(model: nn.Module, batch: Batch, losses: Losses) -> int:
    """The number of units; refuse losses that no engine could differentiate before any fails obscurely."""
    samples = batches.size(batch)
    model = _copy(model)
    if not any(p.requires_grad for p in model.parameters()):
        raise CaseError("the model has no parameter that requires a gradient")
    entries = losses(model, batch)
    if not isinstance(entries, Tensor) or entries.ndim not in (1, 2) or len(entries) != samples:
        given = list(entries.shape) if isinstance(entries, Tensor) else type(entries).__name__
        raise UsageError(
            f"losses(model, batch) gave {given}; for {samples} samples it must be unreduced, "
            f"[{samples}] or [{samples}, parts]: use reduction='none' and sum over each sample's elements"
        )
    if not bool(torch.isfinite(entries).all()):
        bad = int((~torch.isfinite(entries)).sum())
        raise CaseError(f"{bad} of the {entries.numel()} losses are nan or infinite")
    if not entries.requires_grad:
        raise CaseError("the losses depend on no parameter that requires a gradient")
    return entries.numel()


def _penalty(model: nn.Module, regulariser: Regulariser) -> dict[str, Tensor]:
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    gradient = grad(regulariser(model), list(trained.values()))
    return dict(zip(trained, gradient, strict=True))
