"""One update of a run: its micro-batches of all ranks, its units table, its recovery, its file."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from suite.algebra.units import Units
from suite.errors import UsageError
from suite.loops import batch as batches
from suite.loops.loop import Losses
from suite.machine import global_state
from suite.recovery.causes.cause import norm_of
from suite.recovery.recorded import Microbatch, recorded_gradient
from suite.watch.context import whole_sequences
from suite.watch.copies import copy_of, is_sharded, trained_only
from suite.watch.factors import explained_update
from suite.watch.microbatch import Call
from suite.watch.ranks import Ranks, Report
from suite.watch.saved import write_step
from suite.watch.seen import Around, SeenUpdate
from suite.watch.step_file import StepFile
from suite.watch.table import measured, units_table
from suite.watch.update import AuditedUpdate

NO_GRADIENT = (
    "the losses have no gradient by the parameters of the model that they are called with: losses(model, "
    "batch) has to use its argument, not a model from outside"
)
SHOWN_SAME = 4
"""How many groups of micro-batches that hold the same are told."""


@dataclass(frozen=True)
class WatchOptions:
    """What was asked of a watch: see `watch`."""

    every: int = 1
    expect: str | None = None
    warn: bool = False
    save: str | Path | None = None
    window: int | None = None
    max_norm: float | None = None
    engine: str = "opacus"
    factory: Callable[[], nn.Module] | None = None
    log: Callable[[AuditedUpdate], object] | None = None
    timeout: float = 60.0
    context: int = 1


@dataclass(frozen=True, eq=False)
class _Given:
    """The micro-batches of an update, and their units table."""

    microbatches: Sequence[Microbatch]
    units: Units | None


class UpdateAuditor:
    """What makes an audited update of what was seen of it, on all ranks.

    Args:
        inner: the module inside its wrappers.
        losses: the unreduced losses, or None where updates are only saved.
        options: see `watch`.
    """

    def __init__(self, inner: nn.Module, losses: Losses | None, options: WatchOptions) -> None:
        self.inner, self.losses, self.options = inner, losses, options
        self.ranks = Ranks(0, options.timeout)
        self.saved: list[Path] = []
        """The files that were written."""
        self._served: Counter[int] = Counter()
        self._most = 1

    def copy(self) -> nn.Module:
        """A copy of the model as it is now, which disturbs nothing."""
        with undisturbed():
            return copy_of(self.inner, self.options.factory)

    def audited(self, number: int, seen: SeenUpdate, uncalled: str) -> AuditedUpdate | None:
        """The recovery of an update; None where another rank makes it, or where it is only saved.

        Args:
            number: of the update.
            seen: what this rank saw of it.
            uncalled: what to say where no rank saw a micro-batch.

        Raises:
            UsageError: What was seen cannot be recovered: the message says why.
            CaseError: The units' gradients cannot be computed.
        """
        if seen.at is None and is_sharded(self.inner):
            seen = replace(seen, at=self.copy())  # on all ranks
        ranks, norm = self.ranks, norm_of(dict(seen.gradient))
        if ranks.rank:
            ranks.send(number, Report(seen.calls, norm))
            return None
        calls, notes = seen.calls, list[str]()
        if ranks.count > 1:
            for rank, theirs in ranks.collect(number).items():
                notes += _of_rank(rank, theirs, norm)
                calls = [*calls, *theirs.calls]
            own = seen.around  # norms, before communication is over, are those of one rank
            around = Around(dropped=own.dropped, overflowed=own.overflowed, moved=own.moved)
            seen = replace(seen, around=around)
        if self.options.context > 1:
            calls = whole_sequences(calls, self.options.context)
        if not calls:
            raise UsageError(uncalled)
        if not math.isfinite(norm):
            raise UsageError("the gradient is nan or infinite: no weights explain it")
        model = trained_only(self.copy() if seen.at is None else seen.at, seen.gradient)
        return self._recovered(number, replace(seen, calls=calls, at=model), notes)

    def _recovered(self, number: int, seen: SeenUpdate, notes: list[str]) -> AuditedUpdate | None:
        model, given = seen.at, _Given((), None)
        assert model is not None  # noqa: S101  for the types
        if self.losses is not None:
            given = self._given(model, seen.calls, self.losses)
        if self.options.save is not None:
            self._save(number, seen, given.units)
        if self.losses is None or given.units is None:
            return None
        found = self._explained(seen, given, self.losses)
        if len(found.silent) == len(found.weights) and found.norm > 0.0:
            raise UsageError(NO_GRADIENT)
        alone = self.ranks.count == 1 and not (found.explained or found.mistake)
        idle = _without_weight(found, given.microbatches) if alone else []
        if 0 < len(idle) < len(seen.calls):
            calls = [call for place, call in enumerate(seen.calls) if place not in idle]
            seen = replace(seen, calls=calls)
            given = self._given(model, calls, self.losses)
            found = self._explained(seen, given, self.losses)
            notes = [*notes, _idle(idle)]
        self._most = max(self._most, *_of_each_rank(seen.calls))
        keys = [_key(call) for call in seen.calls]
        self._served.update(keys)
        notes = [*notes, *_the_same(keys)]
        return replace(
            found, number=number, microbatches=len(seen.calls),
            full=self._full(seen.calls) * self.ranks.count // self.options.context,
            served=tuple(self._served[key] for key in keys), notes=(*found.notes, *notes),
        )  # fmt: skip

    def _full(self, calls: Sequence[Call]) -> int:
        """How many micro-batches a rank has in a full window."""
        return max(self.options.window or self._most, *_of_each_rank(calls))

    def _given(self, model: nn.Module, calls: Sequence[Call], losses: Losses) -> _Given:
        microbatches = measured(model, calls, losses)
        units = units_table(
            microbatches, full=self._full(calls), world_size=self.ranks.count,
            context=calls if self.options.context > 1 else (),
            max_elements=getattr(losses, "max_elements", None),
        )  # fmt: skip
        return _Given(microbatches, units)

    def _save(self, number: int, seen: SeenUpdate, units: Units | None) -> None:
        assert seen.at is not None  # noqa: S101  for the types
        path = Path(str(self.options.save).replace("{update}", str(number)))
        step = StepFile.of(
            seen.at, seen.gradient, seen.calls, units, update=number, full=self._full(seen.calls),
            world_size=self.ranks.count, max_norm=self.options.max_norm,
        )  # fmt: skip
        write_step(path, step)
        self.saved.append(path)

    def _explained(self, seen: SeenUpdate, given: _Given, losses: Losses) -> AuditedUpdate:
        assert seen.at is not None and given.units is not None  # noqa: S101, PT018  for the types
        circumstances = [call.circumstances for call in seen.calls if call.circumstances]
        tried = recorded_gradient(
            seen.at, given.microbatches, losses, seen.gradient, given.units,
            engine=self.options.engine,
            autocast=frozenset(kind for its in circumstances for kind in its.autocast),
        )  # fmt: skip
        return explained_update(tried, seen, self.options.max_norm)


def undisturbed() -> Any:
    """Whatever happens inside, random numbers and torch's settings are as before afterwards."""
    return global_state.preserved(global_state.COMPUTATION)


def _of_rank(rank: int, theirs: Report, norm: float) -> Iterator[str]:
    if theirs.missing:
        yield f"Rank {rank} handed over no micro-batch: {theirs.missing}."
    elif theirs.norm is not None and abs(theirs.norm - norm) > 1e-6 * norm:
        yield (
            f"Rank {rank} uses another gradient, of norm {theirs.norm:.6g} instead of {norm:.6g}: the "
            "ranks do not agree on this update."
        )


def _of_each_rank(calls: Sequence[Call]) -> list[int]:
    return list(Counter(call.rank for call in calls).values())


def _without_weight(found: AuditedUpdate, microbatches: Sequence[Microbatch]) -> list[int]:
    """The micro-batches whose units all have weight 0."""
    if not found.linear:
        return []
    ends = np.cumsum([one.elements.size for one in microbatches])
    idle = []
    for place, units in enumerate(np.split(np.arange(len(found.weights)), ends[:-1])):
        told = units[found.identifiable[units]]
        if len(told) and bool((np.abs(found.weights[told]) <= found.error[told]).all()):
            idle.append(place)
    return idle


def _idle(places: Sequence[int]) -> str:
    several = len(places) > 1
    return (
        f"Micro-batch{'es' * several} {', '.join(map(str, places))} (from 0) {'have' if several else 'has'} "
        "weight 0 and is left out: the model was called, and this update has nothing of it."
    )


def _key(call: Call) -> int:
    """The same for micro-batches that hold the same."""
    return hash(b"".join(_bytes(tensor) for tensor in batches.tensors(call.batch)))


def _the_same(keys: Sequence[int]) -> Iterator[str]:
    """That micro-batches of one update hold the same, as where ranks have no sampler of their own."""
    groups: dict[int, list[int]] = {}
    for place, key in enumerate(keys):
        groups.setdefault(key, []).append(place)
    same = [" and ".join(map(str, group)) for group in groups.values() if len(group) > 1]
    if same:
        more = f" and {len(same) - SHOWN_SAME} more" if len(same) > SHOWN_SAME else ""
        yield f"Micro-batches hold the same tensors: {', '.join(same[:SHOWN_SAME])}{more} (from 0)."


def _bytes(tensor: Tensor) -> bytes:
    given = tensor.detach().cpu().contiguous()
    return bytes(given.flatten().view(torch.uint8).numpy().tobytes()) if given.numel() else b""
