"""Recovery from a gradient that was seen, where nobody has the step that made it.

Weights, formula, names and what one look at the gradient shows are as in `recover`. Whatever needs the step
to run again (noise, steps that couple their samples, a norm that stays while the parameters move) is not
looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from suite.algebra.symbols import CLIP
from suite.algebra.units import Column, Units
from suite.engines.memory_plan import Workload
from suite.engines.per_sample_gradients import Checked, per_sample_gradients
from suite.engines.unit_gradients import Materialised
from suite.errors import CaseError, UsageError, one_line, place
from suite.loops import batch as batches
from suite.loops.autograd import grad
from suite.loops.batch import Batch
from suite.loops.loop import Losses
from suite.recovery.eval_copy import in_eval_mode
from suite.recovery.experiment import Experiment
from suite.recovery.formats import SeenFormats, Watch, is_narrow
from suite.recovery.identify import simplicity
from suite.recovery.in_float64 import UnitProblem, problem
from suite.recovery.losses import Reading
from suite.recovery.many_units import require_square_matrices
from suite.recovery.recorded_on_few import are_many, divided, proven_of_recorded
from suite.recovery.recovery import recovery
from suite.recovery.result import Recovery
from suite.recovery.step import GradientByName
from suite.recovery.surroundings import Surroundings
from suite.recovery.unit_gradients import mixes_formats, require_memory_for_all

REPLAYED = "loop, in train mode"
ROUND_NORM = 2e-5
"""How near a norm must be to a number of two digits to be a clip threshold: PyTorch leaves C·‖g‖/(‖g‖ +
1e-6)."""


@dataclass(frozen=True, eq=False)
class Microbatch:
    """What a model was called with, once.

    Args:
        batch: a tensor, or a tuple, list or dict of tensors, samples along the first axis.
        elements: `[samples]` or `[samples, parts]` how many loss elements each unit sums over; 0 for padding
            and ignored targets, whose gradient is zero.
        rank: the process that called it.
        enter: puts the random numbers and the modes of a model back to those of the call; None if unknown.
    """

    batch: Batch
    elements: NDArray[np.float64]
    rank: int = 0
    enter: Callable[[nn.Module], None] | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class _InTurn:
    """The losses of all micro-batches in turn, `[units]`; as they were in the run if `replayed`."""

    losses: Losses
    microbatches: Sequence[Microbatch]
    replayed: bool = False
    detached: bool = False  # so that no graph outlives its micro-batch

    def __call__(self, model: nn.Module, batch: list[Batch]) -> Tensor:
        return torch.cat([
            self._entries(one, model, given).flatten()
            for given, one in zip(batch, self.microbatches, strict=True)
        ])  # fmt: skip

    def _entries(self, one: Microbatch, model: nn.Module, given: Batch) -> Tensor:
        found = self.of(one, model, given)
        return found.detach() if self.detached else found

    def of(self, one: Microbatch, model: nn.Module, given: Batch) -> Tensor:
        """`[samples]` or `[samples, parts]` those of one micro-batch."""
        if self.replayed and one.enter is not None:
            one.enter(model)
        return self.losses(model, given)


@dataclass(frozen=True, eq=False)
class RecordedGradient(Experiment):
    """A gradient that was seen at an optimizer, with the micro-batches that came before it.

    Args:
        formats_seen: the formats that the run was seen to compute in.
        counted: what divisors are counted in: the batch as a whole, where it can be put together.
    """

    formats_seen: SeenFormats = field(default_factory=SeenFormats)
    counted: Batch = ()

    @property
    def reruns(self) -> bool:
        """There is no step to run again."""
        return False

    @property
    def counted_batch(self) -> Batch:
        """See `counted`."""
        return self.counted

    @cached_property
    def _observed(self) -> tuple[GradientByName, set[str], Watch]:
        watch = Watch()
        watch.seen = self.formats_seen
        return self.gradient, set(), watch

    def divided(self, factor: float) -> RecordedGradient:
        """The same where the gradient was divided by a number."""
        gradient = {name: part / factor for name, part in self.gradient.items()}
        few = None if self.few is None else divided(self.few, factor)
        return replace(self, gradient=gradient, few=few)

    def changed_batch(self) -> None:
        """Nobody knows what the step does to its batch."""

    def next_call(self) -> tuple[None, tuple[str, ...]]:
        """There is none."""
        return None, ()


def recorded_gradient(
    model: nn.Module,
    microbatches: Sequence[Microbatch],
    losses: Losses,
    gradient: Mapping[str, Tensor],
    units: Units,
    *,
    engine: str = "opacus",
    autocast: frozenset[tuple[str, torch.dtype]] = frozenset(),
    memory: int | None = None,
) -> RecordedGradient:
    """A gradient that was seen, with the gradients of the units that are held against it.

    Where the units of the model in eval mode do not explain it, they are those of the model as it was
    called: in train mode, with the same random numbers. There a layer that mixes samples or draws numbers is
        part of each unit's loss.

    Args:
        model: at the parameters of the update; those that require a gradient are looked at. It is a copy
            that may be changed.
        microbatches: what it was called with since the update before, in order.
        losses: `losses(model, batch)` gives the unreduced losses of one micro-batch.
        gradient: by parameter name, as the optimizer used it.
        units: the units table, micro-batch by micro-batch, sample by sample, part by part. Units without
            elements are taken to have no gradient.
        engine: the engine that is to compute the units' gradients where each sample has one loss.
        autocast: the kinds of device that the run had under autocast, and to which dtype.
        memory: how many bytes the units' gradients may take; half of what is free if None.

    Raises:
        UsageError: The losses fail, or do not fit.
        CaseError: The units' gradients cannot be computed.
    """
    tried = _experiment(model, microbatches, losses, gradient, units, engine, autocast, memory)
    if not tried.whole.linear and any(one.enter is not None for one in microbatches):
        again = _replayed(tried, microbatches, losses)
        if again is not None and again.whole.linear and not again.whole.spans:
            return again
    return tried


def recover_recorded(tried: RecordedGradient) -> Recovery:
    """The weight that each unit got in a gradient that was seen.

    Where the weights are no simple multiple of a convention's, and the norm is a number of two digits, that
    may be the threshold of clipping: whether it is one, the formula tells.
    """
    found = recovery(tried)
    threshold = round_norm(found.norm)
    if (
        threshold is None
        or tried.few is not None
        or tried.units.max_norm is not None
        or not found.linear
        or _plain(found)
    ):
        return found
    clipped = recovery(replace(tried, units=replace(tried.units, max_norm=threshold)))
    return clipped if clipped.formula is not None and CLIP in clipped.formula.symbols else found


def _plain(found: Recovery) -> bool:
    """Whether the weights are a convention's, times a simple number at most."""
    return found.scale is not None and simplicity(found.scale) is not None


def round_norm(norm: float, slack: float = ROUND_NORM) -> float | None:
    """The number of two digits that a norm is, as clip thresholds are; None where it is none."""
    if not norm > 0.0 or not np.isfinite(norm):
        return None
    near = float(f"{norm:.2g}")
    return near if abs(norm / near - 1) <= slack else None


def _experiment(
    model: nn.Module,
    microbatches: Sequence[Microbatch],
    losses: Losses,
    gradient: Mapping[str, Tensor],
    units: Units,
    engine: str,
    autocast: frozenset[tuple[str, torch.dtype]],
    memory: int | None,
) -> RecordedGradient:
    around = Surroundings(model)
    together = _InTurn(losses, microbatches)
    batch = [one.batch for one in microbatches]
    reading = Reading(together, around)
    alone = replace(reading, losses=replace(together, detached=True))
    with around.kept():
        entries, seen = _formats(model, batch, alone)
    wide = mixes_formats(model) or seen.tf32 or any(map(is_narrow, seen.dtypes))
    seen.autocast |= autocast
    seen.dtypes |= {dtype for _, dtype in autocast}
    seen.backwards = len(microbatches)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    tried = RecordedGradient(
        step=lambda *_: dict(gradient),
        model=model,
        batch=batch,
        gradient={name: gradient[name] for name in names},
        surroundings=around,
        losses=reading,
        regulariser=None,
        units=units,
        engine=engine,
        formats_seen=seen,
        counted=_counted(batch),
        memory=memory,
    )
    if not wide and not autocast and are_many(len(units), model):
        few = _on_few(tried, together, entries) or _on_few(tried, replace(together, replayed=True))
        if few is not None:
            return few
        require_square_matrices(len(units), memory)
        require_memory_for_all(model, len(units), memory)
    with around.kept():
        try:
            found = _unit_gradients(model, batch, together, engine, wide=wide)
        except (CaseError, RuntimeError, TypeError):
            if not wide:
                raise
            wide = False  # a kernel that has no float64
            found = _unit_gradients(model, batch, together, engine, wide=False)
    return replace(tried, engine=found.engine, computed=(found, wide))


def _on_few(
    tried: RecordedGradient, together: _InTurn, known: Tensor | None = None
) -> RecordedGradient | None:
    """The weights, proven without the gradients of all units; None where they cannot be had so."""
    microbatches = together.microbatches
    if together.replayed and not any(one.enter for one in microbatches):
        return None

    def losses_of(model: nn.Module, place: int) -> Tensor:
        return together.of(microbatches[place], model, tried.batch[place])

    with tried.surroundings.kept(), torch.enable_grad():
        if known is None:
            known = replace(together, detached=True)(in_eval_mode(tried.model), tried.batch)
        parts = known.split([one.elements.size for one in microbatches])
        entries = [part.reshape(one.elements.shape) for part, one in zip(parts, microbatches, strict=True)]
        whole = () if together.replayed else _whole(tried.batch)
        few = proven_of_recorded(
            tried.model, whole, losses_of, entries, tried.gradient, tried.units, tried.memory
        )
    if few is None:
        return None
    return replace(tried, losses=replace(tried.losses, losses=together), few=few)


def _unit_gradients(
    model: nn.Module, batch: list[Batch], together: _InTurn, engine: str, *, wide: bool
) -> Checked:
    """The units' gradients, micro-batch by micro-batch."""
    found = []
    for given, one in zip(batch, together.microbatches, strict=True):
        losses = partial(together.of, one)
        exact = problem(model, given, losses, None, wide=wide)
        silent = one.elements.ravel() == 0
        if one.elements.ndim > 1 or silent.any() or together.replayed:
            found.append(_one_by_one(exact, silent, replayed=together.replayed))
        else:
            found.append(per_sample_gradients(exact.model, exact.batch, exact.losses, engine=engine))
    blocks = {name: torch.cat([each.blocks[name] for each in found]) for name in found[0].blocks}
    return replace(found[0], gradients=Materialised(blocks))


def _one_by_one(given: UnitProblem, silent: Column, *, replayed: bool) -> Checked:
    """One backward pass for each unit that has elements."""
    trained = {name: p for name, p in given.model.named_parameters() if p.requires_grad}
    with torch.enable_grad():
        entries = given.losses(given.model, given.batch).flatten()
        blocks = {name: p.new_zeros(len(entries), *p.shape) for name, p in trained.items()}
        for unit, loss in enumerate(entries):
            if silent[unit]:
                continue
            for block, part in zip(
                blocks.values(), grad(loss, list(trained.values()), keep_graph=True), strict=True
            ):
                block[unit] = part
    bytes_ = sum(p.numel() * p.itemsize for p in trained.values())
    size = Workload(batches.size(given.batch), len(entries), bytes_, 0, False)  # noqa: FBT003
    return Checked(Materialised(blocks), REPLAYED if replayed else "loop", {}, size)


def _replayed(
    tried: RecordedGradient, microbatches: Sequence[Microbatch], losses: Losses
) -> RecordedGradient | None:
    """The same with the losses as they were in the run: in train mode, with its random numbers.

    There a layer that mixes samples or draws numbers is part of each unit's loss, so that the gradient may
    be a weighting of these.
    """
    together = _InTurn(losses, microbatches, replayed=True)
    reading = replace(tried.losses, losses=together)
    try:
        with tried.surroundings.kept():
            found = _unit_gradients(tried.model, tried.batch, together, "loop", wide=tried.wide)
    except (UsageError, CaseError, RuntimeError):
        return None
    return replace(tried, losses=reading, computed=(found, tried.wide))


def _formats(model: nn.Module, batch: list[Batch], reading: Reading) -> tuple[Tensor, SeenFormats]:
    """`[units]` the losses of the model in eval mode, and the formats that it computes in by itself."""
    with torch.enable_grad(), Watch() as watch:
        try:
            entries = reading(in_eval_mode(model), batch)
        except Exception as error:
            raise UsageError(
                f"the losses failed{place(error)}: {one_line(error)}; they are called as losses(model, "
                "batch), with the batch as the model was called with it"
            ) from error
    return entries, watch.seen


def _whole(batch: list[Any]) -> Batch:
    """The micro-batches as one batch, where their tensors have the same shapes; else nothing."""
    return _joined(batch, lambda tensor: tensor)


def _counted(batch: list[Any]) -> Batch:
    """The same; where their tensors have other shapes, `[entries, 1]` what stands in each of them."""
    whole = _whole(batch)
    return whole if batches.tensors(whole) else _joined(batch, lambda tensor: tensor.reshape(-1, 1))


def _joined(batch: list[Any], shaped: Callable[[Tensor], Tensor]) -> Batch:
    try:
        parts = [batches.tensors(given) for given in batch]
        joined = iter([torch.cat([shaped(tensor) for tensor in same]) for same in zip(*parts, strict=True)])
        return batches.map_tensors(lambda _: next(joined), batch[0])
    except (RuntimeError, ValueError):
        return ()
