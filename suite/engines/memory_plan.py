"""The memory plan: whether an engine computes gradients at once, or in pieces that fit into the memory.

What a pass takes is measured on two samples, four and eight, tensor by tensor, before anything larger is
begun; where everything fits several times over, it is not even measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from warnings import catch_warnings, simplefilter

import torch
from torch import Tensor, nn

from suite.engines.chunks import Chunked, Job, ParameterGroup, gram_bytes, reduction_bytes
from suite.engines.engine import Engine, Refused
from suite.engines.sharing import only
from suite.engines.unit_gradients import UnitGradients
from suite.loops import batch as batches
from suite.loops.autograd import parameter_reads, values
from suite.loops.batch import Batch
from suite.loops.loop import Losses
from suite.machine.allocations import peak_tensor_bytes
from suite.machine.cuda import devices_of
from suite.machine.memory import format_bytes

AMPLE = 4
"""How many times over all that is held must fit to need no measuring."""

CHECKED = 8
"""How many gradients of all parameters the check holds, those of autograd among them."""


class DoesNotFit(Refused):
    """Not even the smallest pieces fit.

    Args:
        needed: how many bytes they take.
        memory: how many there are.
    """

    def __init__(self, needed: int, memory: int) -> None:
        super().__init__(
            f"needs {format_bytes(needed)} at least, in the smallest pieces, "
            f"where {format_bytes(memory)} are allowed"
        )
        self.needed = needed


@dataclass(frozen=True)
class Workload:
    """How large the task is, whoever does it.

    Args:
        samples: in the batch.
        units: of it.
        gradient: bytes of one gradient of all parameters.
        saved: bytes that a forward pass of the whole batch saves for its backward pass.
        inner: whether the losses take derivatives themselves.
    """

    samples: int
    units: int
    gradient: int
    saved: int
    inner: bool = False

    @property
    def checking(self) -> int:
        """What the check of the gradients takes in one pass of the whole batch."""
        return CHECKED * self.gradient + self.saved + gram_bytes(self.units)


@dataclass(frozen=True)
class MemoryPlan:
    """How an engine computes the gradients of a batch within the memory.

    Args:
        engine: the engine.
        size: of the task.
        memory: how many bytes there are.
        groups: of parameters, if in pieces; none if all at once.
    """

    engine: Engine
    size: Workload
    memory: int
    groups: Sequence[ParameterGroup] = ()

    @property
    def step(self) -> int | None:
        """How many samples may go through autograd's own backward pass at a time; all if None."""
        memory = self.memory - self.size.checking + self.size.saved
        if self.size.saved <= memory:
            return None
        return max(1, memory * self.size.samples // self.size.saved)

    def compute(self, model: nn.Module, batch: Batch, losses: Losses) -> UnitGradients:
        """The gradients of the units; `model` may be changed.

        Raises:
            Refused: The engine cannot do this model.
        """
        if not self.groups:
            return self.engine.compute(model, batch, losses, self.memory)
        size = self.size
        parts = size.units // size.samples
        return Chunked(Job(self.engine, model, batch, losses, size.samples, parts, self.groups, self.memory))


def plan_memory(
    engine: Engine,
    model: nn.Module,
    batch: Batch,
    losses: Losses,
    size: Workload,
    memory: int,
    *,
    more: int = 0,
    reductions: int = 4,
) -> MemoryPlan:
    """How `engine` computes the gradients of the units of `batch` within `memory` bytes.

    Args:
        engine: the engine.
        model: is left as it is.
        batch: of samples along the first axis.
        losses: the unreduced losses.
        size: of all this.
        memory: bytes, for everything that is held at a time.
        more: units that will be appended.
        reductions: how many reduced gradients will be asked for at a time.

    Raises:
        DoesNotFit: Not even of one parameter and two samples.
        Refused: The engine cannot do this model, or the losses cannot be computed in chunks.
    """
    if is_ample(engine, size, memory, more=more, reductions=reductions):
        return MemoryPlan(engine, size, memory)
    units = size.units + more
    fixed = _fixed(size, more, reductions)
    probe = _Probe(engine, model, batch, losses, size, memory, fixed)
    at_once = probe.at_once(more)
    if at_once is not None and at_once <= memory:
        return MemoryPlan(engine, size, memory)
    groups = probe.groups(reductions)
    least = size.checking - size.saved + -(-size.saved // size.samples)
    beside = gram_bytes(units) + (1 + more) * size.gradient
    if groups:
        beside += reduction_bytes(engine, groups, reductions) + max(group.pair for group in groups)
    if not groups or max(least, beside) > memory:
        pieces = max(least, probe.least(reductions))
        raise DoesNotFit(pieces if at_once is None else min(pieces, at_once), memory)
    plan = MemoryPlan(engine, size, memory - more * size.gradient, groups)
    if plan.step is not None or any(group.fits(probe.pass_memory) < size.samples for group in groups):
        _require_separable(model, batch, losses, size, plan.step or size.samples, groups, probe.pass_memory)
    return plan


def is_ample(engine: Engine, size: Workload, memory: int, *, more: int = 0, reductions: int = 4) -> bool:
    """Whether all fits several times over: nothing need be measured, and graphs may be kept.

    Args:
        engine: the engine.
        size: of the task.
        memory: bytes, for everything that is held at a time.
        more: units that will be appended.
        reductions: how many reduced gradients will be asked for at a time.
    """
    formed = (size.units + more) * size.gradient if engine.materialises else 0
    held = (1 + more) * formed + size.saved + CHECKED * size.gradient
    return AMPLE * held + _fixed(size, more, reductions) <= memory


def _fixed(size: Workload, more: int, reductions: int) -> int:
    """A copy of the model, what is reduced, and what is appended."""
    return gram_bytes(size.units + more) + (1 + reductions + more) * size.gradient


class _Probe:
    """Measures passes over few samples."""

    def __init__(
        self,
        engine: Engine,
        model: nn.Module,
        batch: Batch,
        losses: Losses,
        size: Workload,
        memory: int,
        fixed: int,
    ) -> None:
        self.engine, self.model, self.batch, self.losses = engine, model, batch, losses
        self.size, self.memory, self.fixed = size, memory, fixed
        self.pass_memory = memory - fixed
        self.left = 0  # bytes that the gradients of two samples keep
        self.parts = size.units // size.samples
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        read = self._read(trained)
        # Where no use is found in the graph (a pass that hides it), all may be used.
        self.sizes = {name: p.numel() * p.itemsize for name, p in trained.items() if not read or name in read}

    def at_once(self, more: int) -> int | None:
        """What all parameters and samples together take; None where two samples of them may be too many."""
        names, size = frozenset(self.sizes), self.size
        if self._least(names) > max(0, self.pass_memory):
            return None
        whole = self._measured(names)
        takes = whole.pair + (size.samples - 2) * whole.each + self.fixed
        left = self.left * size.samples // 2
        return max(takes, 2 * left * more + self.fixed, left + size.checking)

    def groups(self, reductions: int) -> list[ParameterGroup]:
        """As few groups as let all samples go through together, so far as that can be; none if none fits."""
        found, waiting = [], [list(self.sizes)]
        while waiting:
            names = waiting.pop()
            group = self._measured(frozenset(names)) if self._least(names) <= self.pass_memory else None
            fits = group is not None and self._taken(group, reductions) <= self.pass_memory
            if len(names) > 1 and (group is None or not fits or self._too_many(group)):
                waiting += reversed(_halves(names, self.sizes))
            elif group is None or not fits:
                return []
            else:
                found.append(group)
        return found

    def least(self, reductions: int) -> int:
        """What must fit: two samples' gradients of the largest parameter, alone."""
        largest = max(self.sizes, key=lambda name: self.sizes[name])
        pair = self._least([largest])
        if pair <= self.memory:
            pair = self._held(frozenset([largest]), 2)
        return self.fixed + self._taken(
            ParameterGroup(frozenset([largest]), self.sizes[largest], pair, pair), reductions
        )

    def _taken(self, group: ParameterGroup, reductions: int) -> int:
        """What a pass over two samples takes, and what is reduced of it, beside what is fixed."""
        # The reduced gradients themselves are among what is fixed.
        return group.pair + reduction_bytes(self.engine, [group], reductions) - reductions * group.gradient

    def _too_many(self, group: ParameterGroup) -> bool:
        """Whether gradients, rather than what passes through the layers, leave no memory for all samples."""
        formed = self.parts * group.gradient if self.engine.materialises else 0
        return group.fits(self.pass_memory) < self.size.samples and 4 * formed > group.each

    def _least(self, names: Sequence[str] | frozenset[str]) -> int:
        """What two samples' gradients take at least."""
        return 2 * self.parts * sum(self.sizes[name] for name in names) if self.engine.materialises else 0

    def _measured(self, names: frozenset[str]) -> ParameterGroup:
        last = pair = self._held(names, 2)
        each = pair // 2
        # What stays the same is told from what grows by the larger of them.
        for samples in (4, 8):
            if 4 * samples <= max(16, self.size.samples) and 2 * last <= self.pass_memory:
                before, last = last, self._held(names, samples)
                each = max(each if samples > 4 else 1, 2 * (last - before + 1) // samples)
        return ParameterGroup(names, sum(self.sizes[name] for name in names), pair, max(1, each))

    def _held(self, names: frozenset[str], samples: int) -> int:
        few = batches.select(self.batch, slice(0, samples))
        idle = [*self.model.parameters(), *self.model.buffers(), *batches.tensors(self.batch)]

        def action() -> object:
            found = self.engine.compute(only(self.model, names), few, self.losses, self.pass_memory)
            # What is made of gradients that are in memory takes little, and not more for more samples.
            return found if self.engine.materialises else (found, found.gram())

        with torch.random.fork_rng(devices=devices_of(self.model)), torch.enable_grad(), catch_warnings():
            simplefilter("ignore")  # of engines that may not be used in the end
            most, left = peak_tensor_bytes(action, idle)
        if samples == 2:
            self.left = left
        return most

    def _read(self, trained: Mapping[str, Tensor]) -> set[str]:
        """The parameters that the losses depend on."""
        model = only(self.model, frozenset(trained))
        names = {id(p): name for name, p in model.named_parameters()}
        try:
            with torch.random.fork_rng(devices=devices_of(self.model)), torch.enable_grad():
                entries = self.losses(model, batches.select(self.batch, slice(0, 2)))
        except (Exception, SystemExit) as error:
            raise Refused(f"cannot be given two samples of the batch: {error}") from error
        return {names[key] for key in parameter_reads(entries) if key in names} if entries.grad_fn else set()


def _halves(names: list[str], sizes: dict[str, int]) -> list[list[str]]:
    """Two lists of about equal bytes, the order kept."""
    half = sum(sizes[name] for name in names) / 2
    best = min(
        range(1, len(names)),
        key=lambda cut: abs(sum(sizes[name] for name in names[:cut]) - half),
    )
    return [names[:best], names[best:]]


def _require_separable(
    model: nn.Module,
    batch: Batch,
    losses: Losses,
    size: Workload,
    step: int,
    groups: Sequence[ParameterGroup],
    memory: int,
) -> None:
    """Refuse losses that are others when fewer samples are together."""
    step = min(step, *(group.fits(memory) for group in groups))
    with torch.random.fork_rng(devices=devices_of(model)):
        together = values(lambda: losses(model, batch))
        for start in range(0, size.samples, step):
            rows = slice(start, start + step)
            alone = values(lambda: losses(model, batches.select(batch, rows)))  # noqa: B023  called at once
            tolerance = float(torch.finfo(together.dtype).eps) ** 0.5
            if alone.shape != together[rows].shape or not torch.allclose(
                together[rows], alone, rtol=tolerance, atol=tolerance
            ):
                raise Refused(
                    "needs more memory than is allowed, and cannot work in chunks of samples: their losses "
                    "change when fewer are together"
                )
