"""The gradients of the units of a batch, from the first engine that passes the check."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from suite.algebra.gram import Gram
from suite.engines.check import check_gradients
from suite.engines.chunks import Chunked
from suite.engines.engine import RAISED, Engine, Refused, engines
from suite.engines.memory_plan import AMPLE, DoesNotFit, Workload, is_ample, plan_memory
from suite.engines.one_pass import OnePass
from suite.engines.sharing import sharing
from suite.engines.size import require_work, size_of
from suite.engines.unit_gradients import UnitGradients, as_rows
from suite.errors import CaseError, UsageError, one_line, shortened
from suite.loops.autograd import grad
from suite.loops.batch import Batch
from suite.loops.checkpoints import not_reentrant
from suite.loops.given import require_function, require_model
from suite.loops.loop import Losses, Regulariser
from suite.machine import memory as memories
from suite.machine.cuda import devices_of
from suite.machine.global_state import full_precision


@dataclass(frozen=True)
class Checked:
    """Gradients of units that agree with autograd, and which engine they came from.

    Args:
        gradients: the units' gradients; a regulariser's is the last.
        engine: the name of the engine that computed them.
        refused: the engines before it that were refused, with the reason.
        size: of what was computed.
        device: where all of it is; None where it may be anywhere.
    """

    gradients: UnitGradients
    engine: str
    refused: Mapping[str, str]
    size: Workload
    device: torch.device | None = None

    @property
    def chunks(self) -> int:
        """In how many pieces they are computed to fit into the memory; 1 where they are at once."""
        return self.gradients.chunks if isinstance(self.gradients, Chunked) else 1

    @property
    def shape(self) -> tuple[int, int]:
        """`(units, params)`."""
        return self.gradients.shape

    @property
    def matrix(self) -> Tensor:
        """`[units, params]`, the parameters in the order of `model.named_parameters()`."""
        blocks = list(self.blocks.values())
        return torch.cat([as_rows(block).to(blocks[0].device) for block in blocks], dim=1)

    @property
    def blocks(self) -> Mapping[str, Tensor]:
        """By parameter name, `[units, *parameter.shape]`."""
        with self._exactly():
            return self.gradients.blocks

    def gram(self) -> Gram:
        """`[units, units]` in float64: `G Gᵀ`."""
        with self._exactly():
            return self.gradients.gram()

    def reduce(self, coefficients: ArrayLike) -> Tensor:
        """`[conventions, params]` the reduced gradients `C G` of coefficients `[conventions, units]`."""
        weights = self._weights(coefficients)
        with self._exactly():
            return self.gradients.reduce(weights)

    def directions(self, coefficients: ArrayLike) -> tuple[Tensor, Tensor]:
        """`[conventions, rank]` and `[rank, params]`, whose product the reduced gradients are."""
        weights = self._weights(coefficients)
        with self._exactly():
            return self.gradients.directions(weights)

    def _exactly(self) -> AbstractContextManager[None]:
        return full_precision(self.device)

    def _weights(self, coefficients: ArrayLike) -> NDArray[np.float64]:
        units = self.shape[0]
        try:
            weights = np.atleast_2d(np.asarray(coefficients, dtype=np.float64))
        except (TypeError, ValueError):
            raise UsageError(f"coefficients are {shortened(coefficients)}: numbers are needed") from None
        if weights.ndim != 2 or weights.shape[1] != units:
            raise UsageError(
                f"coefficients are {list(weights.shape)}: one for each of the {units} units is needed, "
                f"[{units}] or [conventions, {units}]"
            )
        return weights


def per_sample_gradients(
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
        memory: how many bytes may be held while they are computed; half of what is free if None.
            Where the whole does not fit, some parameters and some samples are taken at a time; what is
            asked of the result later keeps to it too. Not bounded is a forward pass of the whole batch,
            which keeps nothing for a backward pass.

    Returns:
        The gradients, unit by unit (sample by sample, part by part within a sample).

    Raises:
        UsageError: There is no such engine, or the losses are not `[samples]` or `[samples, parts]`.
        CaseError: The losses are not finite, depend on no parameter, or no engine passed the check, or
            fits into the memory.

    Examples:
        >>> import gradsuite
        >>> import torch
        >>> import torch.nn.functional as F
        >>> model = torch.nn.Linear(8, 1)
        >>> batch = torch.randn(4, 8), torch.randn(4, 1)
        >>> def losses(model, batch):
        ...     return F.mse_loss(model(batch[0]), batch[1], reduction="none").sum(1)
        >>> found = gradsuite.per_sample_gradients(model, batch, losses)
        >>> found.matrix.shape  # [units, params]: 4 samples, 8 weights and a bias
        torch.Size([4, 9])
        >>> mean = found.reduce([[1 / 4] * 4])
        >>> losses(model, batch).mean().backward()
        >>> bool(torch.allclose(mean[0, :8], model.weight.grad[0], atol=1e-5))
        True
    """
    require_model(model)
    require_function("losses", losses)
    more = int(regulariser is not None)
    exactly = full_precision(_only_device(model))
    with torch.random.fork_rng(devices=devices_of(model)), torch.enable_grad(), exactly:
        require_work(model, batch)
        memory = memories.free_bytes(_device(model)) // 2 if memory is None else memory
        task = _Task(model, batch, not_reentrant(losses), memory, more)
        refused: dict[str, str] = {}
        for candidate in _order(engine):
            try:
                found = task.by(candidate)
            except Refused as reason:
                refused[candidate.name] = _said(reason, task.size)
                continue
            if regulariser is not None:
                found = found.append(_penalty(sharing(model), regulariser))
            return Checked(found, candidate.name, refused, task.size, _only_device(model))
    told = "; ".join(f"{name} {reason}" for name, reason in refused.items())
    raise CaseError(f"no engine gives right per-sample gradients: {told}")


class _Task:
    """Whose gradients are asked for; how large that is, the first forward pass of the batch tells.

    Args:
        model: left as it is.
        batch: of samples along the first axis.
        losses: the unreduced losses.
        memory: how many bytes there are.
        more: units that will be appended.
    """

    def __init__(self, model: nn.Module, batch: Batch, losses: Losses, memory: int, more: int) -> None:
        self._model, self._batch, self._losses = model, batch, losses
        self._memory, self._more = memory, more
        self._size: Workload | None = None

    @property
    def size(self) -> Workload:
        """Of the task."""
        if self._size is None:
            self._size = size_of(self._model, self._batch, self._losses)
        return self._size

    def by(self, engine: Engine) -> UnitGradients:
        """The units' gradients as `engine` computes them, checked.

        Raises:
            Refused: It cannot, or does it wrongly.
        """
        if self._size is None or self._admits(engine, self._size):
            found = self._at_once(engine)
            if found is not None:
                return found
        plan = plan_memory(
            engine, self._model, self._batch, self._losses, self.size, self._memory, more=self._more
        )
        with self._same_draws():
            found = plan.compute(sharing(self._model), self._batch, self._losses)
        # Autograd needs no numbers of its own.
        check_gradients(found, sharing(self._model), self._batch, self._losses, plan.step)
        return found

    def _at_once(self, engine: Engine) -> UnitGradients | None:
        """From one forward pass, which the engine and its check share; None where it takes a plan."""
        one = OnePass(
            self._losses, self._size, self._memory // AMPLE, lambda size: self._admits(engine, size)
        )
        model = traced = sharing(self._model)
        try:
            if not engine.one_pass:
                traced = sharing(self._model)
                with self._same_draws():
                    one(traced, self._batch)
            with self._same_draws():
                losses = one if engine.one_pass else self._losses
                found = engine.compute(model, self._batch, losses, self._memory)
        except Refused:
            if one.entries is None:  # the pass failed, or it is too large: `size_of` tells
                return None
            raise
        finally:
            self._size = self._size or one.size
        with warnings.catch_warnings():
            # Hooks of Opacus that are still in the graph, and do nothing any more.
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            check_gradients(found, traced, self._batch, self._losses, entries=one.entries)
        return found

    def _same_draws(self) -> AbstractContextManager[None]:
        """Each pass draws the same random numbers."""
        return torch.random.fork_rng(devices=devices_of(self._model))

    def _admits(self, engine: Engine, size: Workload) -> bool:
        return is_ample(engine, size, self._memory, more=self._more)


def require_memory(
    model: nn.Module,
    batch: Batch,
    losses: Losses,
    memory: int,
    *,
    engine: str = "opacus",
    regulariser: Regulariser | None = None,
    rank: int = 0,
) -> None:
    """Make sure that `gradients` and what is made of them fit, before anything is computed.

    Args:
        model: left as it is.
        batch: of samples along the first axis.
        losses: the unreduced losses.
        memory: how many bytes there are.
        engine: the engine to try first.
        regulariser: whose gradient becomes the last unit.
        rank: how many reduced gradients will be asked for at a time.

    Raises:
        DoesNotFit: With no engine.
        UsageError: The losses are not `[samples]` or `[samples, parts]`.
        CaseError: They are not finite, or depend on no parameter.
    """
    exactly = full_precision(_only_device(model))
    with torch.random.fork_rng(devices=devices_of(model)), torch.enable_grad(), exactly:
        size = size_of(model, batch, losses)
        least: DoesNotFit | None = None
        for candidate in _order(engine):
            try:
                more, reductions = int(regulariser is not None), max(4, rank)
                plan_memory(candidate, model, batch, losses, size, memory, more=more, reductions=reductions)
            except DoesNotFit as found:
                least = found if least is None or found.needed < least.needed else least
            except Refused:
                continue
            else:
                return
        if least is not None:
            raise least


def _said(reason: Refused, size: Workload) -> str:
    """Why an engine was refused. How it comes to grief on derivatives of derivatives says nothing."""
    if size.inner and str(reason).startswith(RAISED):
        return "cannot follow losses that take derivatives themselves"
    return str(reason)


def _order(name: str) -> list[Engine]:
    """The engine of this `name`, then those that take over from it."""
    asked = engines[name]
    return [asked, *(e for e in list(engines)[engines.names.index(name) + 1 :])]


def _device(model: nn.Module) -> torch.device:
    return next(p.device for p in model.parameters())


def _only_device(model: nn.Module) -> torch.device | None:
    """Where all of the model is; None where that is in several places."""
    places = {t.device for t in (*model.parameters(), *model.buffers())}
    return places.pop() if len(places) == 1 else None


def _penalty(model: nn.Module, regulariser: Regulariser) -> dict[str, Tensor]:
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    try:
        term = regulariser(model)
        if not isinstance(term, Tensor) or term.numel() != 1 or not torch.isfinite(term).all():
            raise CaseError("it gives no finite scalar")
        gradient = grad(term.sum(), list(trained.values()))
    except (Exception, SystemExit) as error:
        raise CaseError(f"the regulariser fails: {one_line(error)}") from error
    return dict(zip(trained, gradient, strict=True))
