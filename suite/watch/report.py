"""An audit as text and as a frame: runs of updates that are made in the same way, and what changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from suite.recovery.remarks import remarks
from suite.watch.update import AuditedUpdate

if TYPE_CHECKING:
    import pandas as pd

SHOWN_RUNS = 24
"""How many runs of updates are printed."""


def audit_text(updates: Sequence[AuditedUpdate], failures: Sequence[Any], seen: int, rank: int) -> str:
    """What was found, one paragraph for each run of updates that are made in the same way."""
    audited = len(updates)
    head = f"{_count(seen, 'update')}, {audited} audited."
    if rank:
        return f"{head} This is rank {rank}: rank 0 has the audit."
    lines = [head]
    runs = runs_of_updates(updates)
    for number, run in enumerate(runs[:SHOWN_RUNS]):
        lines += ["", *_paragraph(run, changed=number > 0)]
    if len(runs) > SHOWN_RUNS:
        lines += ["", f"… {len(runs) - SHOWN_RUNS} changes more: .updates has them all"]
    if failures:
        lines += ["", *_failed(failures)]
    return "\n".join(lines)


def runs_of_updates(updates: Sequence[AuditedUpdate]) -> list[list[AuditedUpdate]]:
    """Runs of updates that follow each other and are made in the same way.

    An update may compute several conventions that its batch cannot tell apart: it continues a run as long as
    one name belongs to all of it.
    """
    runs: list[list[AuditedUpdate]] = []
    common: frozenset[str] = frozenset()
    for update in updates:
        last = runs[-1][-1] if runs else None
        continues = last is not None and last.kind == update.kind
        if continues and last is not None:
            shared = common & update.conventions
            continues = bool(shared) if common else last.weighting == update.weighting
        if continues:
            runs[-1].append(update)
            common = shared
        else:
            runs.append([update])
            common = update.conventions
    return runs


def _paragraph(run: Sequence[AuditedUpdate], *, changed: bool) -> Iterator[str]:
    first = min(run, key=lambda update: len(update.conventions))  # the one that tells most
    last = run[-1]
    where = first.place if len(run) == 1 else f"updates {run[0].number} – {last.number} ({len(run)} audited)"
    yield f"{where[0].upper()}{where[1:]}: {first.says}{', a change' if changed else ''}."
    worst = max(update.residual for update in run)
    if first.mistake:
        yield f"  A mistake: {first.mistake}"
    for line in remarks(first.beneath or first)[:-1]:
        yield f"  {line}"
    if first.beneath is not None:
        yield f"  Clipping multiplied the gradient by {_range([update.factor for update in run])}."
    yield from (f"  {note}" for note in dict.fromkeys(note for update in run for note in update.notes))
    at_most = "" if len(run) == 1 else " at most"
    units = f"{_count(len(first.weights), 'unit')} of {_count(first.units.n, 'sample')}"
    yield f"  Residual {worst:.2g}{at_most}, {units}."


def _range(numbers: Sequence[float]) -> str:
    least, most = min(numbers), max(numbers)
    return f"{least:.3g}" if least == most else f"{least:.3g} – {most:.3g}"


def _failed(failures: Sequence[Any]) -> Iterator[str]:
    reasons: dict[str, list[Any]] = {}
    for failure in failures:
        reasons.setdefault(failure.says, []).append(failure)
    for says, those in reasons.items():
        more = f" (and {len(those) - 1} more)" if len(those) > 1 else ""
        number = those[0].number
        yield f"Not audited{'' if number is None else f': update {number}{more}'}: {says}."


def audit_frame(updates: Sequence[AuditedUpdate]) -> pd.DataFrame:
    """The frames of all updates, one below the other."""
    import pandas as pd

    return pd.concat([update.frame for update in updates], ignore_index=True) if updates else pd.DataFrame()


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
