"""The audit of a run: what its updates were, and what could not be told."""

from __future__ import annotations

import itertools
import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from suite.errors import UsageError, one_line
from suite.loops import batch as batches
from suite.loops.loop import Losses
from suite.machine import global_state
from suite.recovery.causes.cause import norm_of
from suite.recovery.recorded import recorded_gradient
from suite.watch import report
from suite.watch.context import whole_sequences
from suite.watch.copies import copy_of, is_sharded, trained_only, unwrapped
from suite.watch.errors import AuditWarning, UnexpectedUpdateError
from suite.watch.factors import explained_update
from suite.watch.hooks import Hooks, SeenUpdate
from suite.watch.microbatch import Call
from suite.watch.ranks import Ranks, Report
from suite.watch.saved import StepFile, write_step
from suite.watch.table import measured, units_table
from suite.watch.update import AuditedUpdate

if TYPE_CHECKING:
    import pandas as pd

_numbers = itertools.count()
_watched: set[int] = set()


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


@dataclass(frozen=True)
class Failure:
    """An update that could not be audited, or a whole run.

    Args:
        number: of the update; None where it is the run.
        says: why.
    """

    number: int | None
    says: str

    def __str__(self) -> str:
        return self.says if self.number is None else f"update {self.number}: {self.says}"


class RunAudit:
    """The audit of the run inside `with watch(…) as audit:`.

    Args:
        model: the module that the loop calls.
        losses: the unreduced losses, or None where updates are only saved.
        options: see `watch`.
    """

    def __init__(self, model: nn.Module, losses: Losses | None, options: WatchOptions) -> None:
        self.updates: list[AuditedUpdate] = []
        """The audited updates, each a `Recovery`; on rank 0 alone."""
        self.failures: list[Failure] = []
        """What could not be audited."""
        self.saved: list[Path] = []
        """The files that were written."""
        self.running = False
        """Whether it is looking."""
        self.window, self.max_norm = options.window, options.max_norm
        self._model, self._inner, self._losses, self._options = model, unwrapped(model), losses, options
        self._hooks = Hooks(model, self._inner, options.every, self, self._copy)
        self._ranks = Ranks(0, options.timeout)
        self._warned: set[str] = set()
        self._served: Counter[int] = Counter()
        self._most = 1
        self._last: int | None = None

    # The run.

    def __enter__(self) -> RunAudit:
        key = id(self._inner)
        if key in _watched:
            raise UsageError(
                "this model is being watched already: one watch at a time sees all of its updates; end the "
                "first, or read its audit"
            )
        self._ranks = Ranks(next(_numbers), self._options.timeout)
        if self._ranks.count % self._options.context:
            raise UsageError(
                f"watch: context is {self._options.context}: {self._ranks.count} ranks are no multiple of it"
            )
        _watched.add(key)
        self._hooks.begin()
        self.running = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.running = False
        try:
            self._hooks.end()
        finally:
            _watched.discard(id(self._inner))
            self._ranks.close()
        if kind is None:
            self._missed()

    @property
    def seen(self) -> int:
        """How many updates the run has made."""
        return self._hooks.update + self._hooks.stepping

    def see(self, loader: Iterable[Any]) -> Seen:
        """The batches of a loader, as they come; each is a micro-batch of the update that follows.

        For loops whose targets never reach the model: `losses(model, batch)` then has the loader's batch.
        """
        return Seen(loader, self._hooks.hand_over)

    def microbatch(self, batch: Any) -> None:
        """Hand over one micro-batch, before it is trained on."""
        self._hooks.hand_over(batch)

    @property
    def due(self) -> bool:
        """Whether the gradient that is handed over next is audited."""
        return self._hooks.due

    def gradient(
        self,
        gradient: Mapping[str, Tensor] | None,
        *,
        before: Mapping[str, float] | None = None,
        at: nn.Module | None = None,
    ) -> None:
        """Hand over the gradient of an update that is made by an optimizer that is none of torch's.

        Args:
            gradient: by the names of `model.named_parameters()`; None where it is not `due`, or not known.
            before: the norm that each part had before it was clipped, where that is known.
            at: a copy of the model before the update, where the update was made already.
        """
        self._hooks.step_elsewhere(gradient, before, at)

    def discarded(self) -> None:
        """Say that the micro-batches since the last update are part of none: their gradient overflowed."""
        self._hooks.forget_calls()

    def epoch_ended(self) -> None:
        """Say that the last update was the last one of an epoch."""
        self._last = self.seen - 1
        if self.updates and self.updates[-1].number == self._last:
            self.updates[-1] = replace(self.updates[-1], last=True)

    # What it was.

    def assert_convention(self, name: str) -> None:
        """Pass if every audited update computes this convention, clipped by its norm or not.

        Raises:
            AssertionError: One computes another, or none could be audited.
            UsageError: There is no such convention.
        """
        from suite.conventions import conventions

        wanted = conventions[name].name
        if not self.updates:
            why = f": {self.failures[0]}" if self.failures else ""
            raise AssertionError(f"no update was audited{why}")
        for update in self.updates:
            if not update.computes(wanted):
                raise AssertionError(f"{update.place} does not compute {name!r}: {update.says}.\n{update}")

    @property
    def frame(self) -> pd.DataFrame:
        """The units tables of all audited updates, with weights; one row for each unit of each update."""
        return report.audit_frame(self.updates)

    def __str__(self) -> str:
        return report.audit_text(self.updates, self.failures, self.seen, self._ranks.rank)

    __repr__ = __str__

    # What the hooks tell.

    def failed(self, error: Exception) -> None:
        """An update cannot be audited: it is told, and the run goes on."""
        self._fail(self._hooks.update, one_line(error))

    def used(self, seen: SeenUpdate) -> None:
        """An optimizer is about to use a gradient, or has just used it."""
        with undisturbed():
            update = self._audited(seen)
        if update is None:
            return
        self.updates.append(update)
        if self._options.log is not None:
            self._options.log(update)
        expected = self._options.expect
        if expected is not None and _is_another(update, expected):
            said = f"{update.place}: {expected!r} was expected; {update.says}"
            if not self._options.warn:
                raise UnexpectedUpdateError(f"{said}\n\n{update}")
            self._warn(said)

    def _audited(self, seen: SeenUpdate) -> AuditedUpdate | None:
        if seen.at is None and is_sharded(self._inner):
            seen = replace(seen, at=self._copy())  # on all ranks
        number, ranks = self._hooks.update, self._ranks
        norm = norm_of(dict(seen.gradient))
        if ranks.rank:
            ranks.send(number, Report(seen.calls, norm))
            return None
        calls, notes = seen.calls, list[str]()
        if ranks.count > 1:
            for rank, theirs in ranks.collect(number).items():
                notes += _of_rank(rank, theirs, norm)
                calls = [*calls, *theirs.calls]
            seen = replace(seen, before=None)  # that of one rank
        if self._options.context > 1:
            calls = whole_sequences(calls, self._options.context)
        if not calls:
            raise UsageError(_uncalled(self._hooks))
        if not math.isfinite(norm):
            raise UsageError("the gradient is nan or infinite: no weights explain it")
        model = trained_only(self._copy() if seen.at is None else seen.at, seen.gradient)
        return self._recovered(number, replace(seen, calls=calls, at=model), notes)

    def _recovered(self, number: int, seen: SeenUpdate, notes: list[str]) -> AuditedUpdate | None:
        model, calls = seen.at, seen.calls
        assert model is not None  # noqa: S101  for the types
        each = Counter(call.rank for call in calls)
        self._most = max(self._most, *each.values())
        full = max(self.window or self._most, *each.values())
        world = self._ranks.count
        units = None
        if self._losses is not None:
            microbatches = measured(model, calls, self._losses)
            longest = getattr(self._losses, "max_elements", None)
            shared = calls if self._options.context > 1 else ()
            units = units_table(
                microbatches, full=full, world_size=world, context=shared, max_elements=longest
            )
        if self._options.save is not None:
            path = Path(str(self._options.save).replace("{update}", str(number)))
            step = StepFile.of(
                model, seen.gradient, calls, units,
                update=number, full=full, world_size=world, max_norm=self.max_norm,
            )  # fmt: skip
            write_step(path, step)
            self.saved.append(path)
        if self._losses is None or units is None:
            return None
        tried = recorded_gradient(
            model, microbatches, self._losses, seen.gradient, units,
            engine=self._options.engine,
            autocast=frozenset(a for call in calls if call.circumstances for a in
            call.circumstances.autocast),
        )  # fmt: skip
        found = explained_update(tried, seen, self.max_norm)
        return replace(
            found, number=number, microbatches=len(calls), full=full * world // self._options.context,
            served=tuple(self._count(call) for call in calls), notes=(*found.notes, *notes),
        )  # fmt: skip

    def _count(self, call: Call) -> int:
        key = hash(b"".join(_bytes(tensor) for tensor in batches.tensors(call.batch)))
        self._served[key] += 1
        return self._served[key]

    def _copy(self) -> nn.Module:
        with undisturbed():
            return copy_of(self._inner, self._options.factory)

    # What went wrong.

    def _fail(self, number: int | None, says: str) -> None:
        self.failures.append(Failure(number, says))
        if self._ranks.count > 1 and self._ranks.rank and number is not None:
            self._ranks.send(number, Report([], missing=f"its audit failed: {says}"))
        self._warn(f"the audit failed, the training goes on: {says}", says)

    def _warn(self, says: str, key: str = "") -> None:
        if (key or says) not in self._warned:
            self._warned.add(key or says)
            warnings.warn(says, AuditWarning, stacklevel=2)

    def _missed(self) -> None:
        """What was used wrongly, in one line."""
        if self.updates or self.failures or self.saved or self._ranks.rank:
            return
        hooks = self._hooks
        if hooks.steps == 0:
            self._fail(
                None,
                "no optimizer that holds the model's parameters made a step: give watch the model that is "
                "trained, and put the whole loop inside `with`",
            )


class Seen:
    """A loader whose batches are handed over as they come."""

    def __init__(self, loader: Iterable[Any], hand_over: Callable[[Any], None]) -> None:
        self._loader, self._hand_over = loader, hand_over

    def __iter__(self) -> Iterator[Any]:
        for batch in self._loader:
            self._hand_over(batch)
            yield batch

    def __len__(self) -> int:
        return len(self._loader)  # type: ignore[arg-type]


def undisturbed() -> Any:
    """Whatever happens inside, random numbers and torch's settings are as before afterwards."""
    return global_state.preserved(global_state.COMPUTATION)


def _is_another(update: AuditedUpdate, expected: str) -> bool:
    """Whether it is shown that an update computes something else."""
    hidden = update.cause is not None and update.cause.name.startswith("rounding") and not update.linear
    return not update.computes(expected) and expected not in update.unresolved and not hidden


def _uncalled(hooks: Hooks) -> str:
    if hooks.quiet_calls and not hooks.seen_calls:
        return (
            "the model was called under no_grad only: give watch the module that the loop trains, or hand "
            "batches over, `for batch in audit.see(loader):`"
        )
    return (
        "the model was not called since the update before: give watch the module that the loop calls "
        "(inside or outside its wrappers), or hand batches over, `for batch in audit.see(loader):`"
    )


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
