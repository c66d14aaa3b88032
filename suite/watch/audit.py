"""The audit of a run: what its updates were, and what could not be told."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from suite.errors import UsageError, one_line
from suite.loops.loop import Losses
from suite.watch import report
from suite.watch.auditor import UpdateAuditor, WatchOptions, undisturbed
from suite.watch.copies import unwrapped
from suite.watch.errors import AuditWarning, UnexpectedUpdateError
from suite.watch.failures import NO_STEP, Failure, uncalled
from suite.watch.hooks import Hooks
from suite.watch.ranks import Ranks, Report
from suite.watch.seen import SeenUpdate
from suite.watch.update import AuditedUpdate, without_numbers

if TYPE_CHECKING:
    import pandas as pd

_numbers = itertools.count()
_watched: set[int] = set()


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
        self.running = False
        """Whether it is looking."""
        self._inner, self._options = unwrapped(model), options
        self._auditor = UpdateAuditor(self._inner, losses, options)
        self._hooks = Hooks(model, self._inner, options.every, self, self._auditor.copy)
        self._entered = False
        self._warned: set[str] = set()
        self._another = False  # whether the last audited update computed something unexpected
        self._last: int | None = None

    # The run.

    def __enter__(self) -> RunAudit:
        key = id(self._inner)
        if key in _watched:
            raise UsageError(
                "this model is being watched already: one watch at a time sees all of its updates; end the "
                "first, or read its audit"
            )
        ranks = self._auditor.ranks = Ranks(next(_numbers), self._options.timeout)
        if ranks.count % self._options.context:
            raise UsageError(
                f"watch: context is {self._options.context}: {ranks.count} ranks are no multiple of it"
            )
        _watched.add(key)
        self._hooks.begin()
        self.running = self._entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.running = False
        try:
            self._hooks.end()
        finally:
            _watched.discard(id(self._inner))
            self._auditor.ranks.close()
        if kind is None:
            self._missed()

    @property
    def saved(self) -> list[Path]:
        """The files that were written."""
        return self._auditor.saved

    @property
    def seen(self) -> int:
        """How many updates the run has made."""
        return self._hooks.update + self._hooks.stepping

    def see(self, loader: Iterable[Any]) -> Seen:
        """The batches of a loader, as they come; each is a micro-batch of the update that follows.

        For loops whose targets never reach the model: `losses(model, batch)` then has the loader's batch.
        """
        return Seen(loader, self._hooks.calls.hand_over)

    def microbatch(self, batch: Any) -> None:
        """Hand over one micro-batch, before it is trained on."""
        self._hooks.calls.hand_over(batch)

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
        self._hooks.calls.forget(overflowed=True)

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
        if not self._entered:
            return "Nothing was watched: put the training inside `with gradsuite.watch(…) as audit:`."
        return report.audit_text(
            self.updates, self.failures, self.seen, self._hooks.unused, self._auditor.ranks.rank
        )

    __repr__ = __str__

    # What the hooks tell.

    def failed(self, error: Exception) -> None:
        """An update cannot be audited: it is told, and the run goes on."""
        self._fail(self._hooks.update, one_line(error))

    def used(self, seen: SeenUpdate) -> None:
        """An optimizer is about to use a gradient, or has just used it."""
        with undisturbed():
            update = self._auditor.audited(self._hooks.update, seen, uncalled(self._hooks.calls))
        if update is None:
            return
        self.updates.append(update)
        if self._options.log is not None:
            self._options.log(update)
        expected = self._options.expect
        another = expected is not None and _is_another(update, expected)
        first, self._another = another and not self._another, another
        if first:
            said = f"{update.place}: {expected!r} was expected; {update.says}"
            if not self._options.warn:
                raise UnexpectedUpdateError(f"{said}\n\n{update}")
            self._warn(said)

    # What went wrong.

    def _fail(self, number: int | None, says: str) -> None:
        self.failures.append(Failure(number, says))
        if self._auditor.ranks.count > 1 and self._auditor.ranks.rank and number is not None:
            self._auditor.ranks.send(number, Report([], missing=f"its audit failed: {says}"))
        self._warn(f"the audit failed, the training goes on: {says}", says)

    def _warn(self, says: str, key: str = "") -> None:
        kind = without_numbers(key) or says
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(says, AuditWarning, stacklevel=2)

    def _missed(self) -> None:
        """What was used wrongly, in one line."""
        if self.updates or self.failures or self.saved or self._auditor.ranks.rank:
            return
        hooks = self._hooks
        if hooks.steps == 0:
            self._fail(None, NO_STEP)


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


def _is_another(update: AuditedUpdate, expected: str) -> bool:
    """Whether it is shown that an update computes something else."""
    hidden = update.cause is not None and update.cause.name.startswith("rounding") and not update.linear
    return not update.computes(expected) and expected not in update.unresolved and not hidden
