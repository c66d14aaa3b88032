"""One update of a run: its micro-batches of all ranks, its units table, its recovery, its file."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from suite.errors import UsageError
from suite.loops import batch as batches
from suite.loops.loop import Losses
from suite.machine import global_state
from suite.recovery.causes.cause import norm_of
from suite.recovery.recorded import recorded_gradient
from suite.watch.context import whole_sequences
from suite.watch.copies import copy_of, is_sharded, trained_only
from suite.watch.factors import explained_update
from suite.watch.microbatch import Call
from suite.watch.ranks import Ranks, Report
from suite.watch.saved import StepFile, write_step
from suite.watch.seen import SeenUpdate
from suite.watch.table import measured, units_table
from suite.watch.update import AuditedUpdate


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
            seen = replace(seen, before=None, between=None)  # those of one rank
        if self.options.context > 1:
            calls = whole_sequences(calls, self.options.context)
        if not calls:
            raise UsageError(uncalled)
        if not math.isfinite(norm):
            raise UsageError("the gradient is nan or infinite: no weights explain it")
        model = trained_only(self.copy() if seen.at is None else seen.at, seen.gradient)
        return self._recovered(number, replace(seen, calls=calls, at=model), notes)

    def _recovered(self, number: int, seen: SeenUpdate, notes: list[str]) -> AuditedUpdate | None:
        model, calls = seen.at, seen.calls
        assert model is not None  # noqa: S101  for the types
        each = Counter(call.rank for call in calls)
        self._most = max(self._most, *each.values())
        full = max(self.options.window or self._most, *each.values())
        world = self.ranks.count
        units = None
        if self.losses is not None:
            microbatches = measured(model, calls, self.losses)
            longest = getattr(self.losses, "max_elements", None)
            shared = calls if self.options.context > 1 else ()
            units = units_table(
                microbatches, full=full, world_size=world, context=shared, max_elements=longest
            )
        if self.options.save is not None:
            path = Path(str(self.options.save).replace("{update}", str(number)))
            step = StepFile.of(
                model, seen.gradient, calls, units,
                update=number, full=full, world_size=world, max_norm=self.options.max_norm,
            )  # fmt: skip
            write_step(path, step)
            self.saved.append(path)
        if self.losses is None or units is None:
            return None
        tried = recorded_gradient(
            model, microbatches, self.losses, seen.gradient, units,
            engine=self.options.engine,
            autocast=frozenset(a for call in calls if call.circumstances for a in
            call.circumstances.autocast),
        )  # fmt: skip
        found = explained_update(tried, seen, self.options.max_norm)
        return replace(
            found, number=number, microbatches=len(calls), full=full * world // self.options.context,
            served=tuple(self._count(call) for call in calls), notes=(*found.notes, *notes),
        )  # fmt: skip

    def _count(self, call: Call) -> int:
        key = hash(b"".join(_bytes(tensor) for tensor in batches.tensors(call.batch)))
        self._served[key] += 1
        return self._served[key]


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


def _bytes(tensor: Tensor) -> bytes:
    given = tensor.detach().cpu().contiguous()
    return bytes(given.flatten().view(torch.uint8).numpy().tobytes()) if given.numel() else b""
