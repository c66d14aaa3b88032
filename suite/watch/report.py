"""An audit as text and as a frame: runs of updates that are made in the same way, and what changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from suite.recovery.remarks import remarks
from suite.recovery.result import Recovery
from suite.recovery.weight_lines import lines as weight_lines
from suite.watch.update import AuditedUpdate, without_numbers

if TYPE_CHECKING:
    import pandas as pd

SHOWN_RUNS = 24
"""How many runs of updates are printed."""
SHOWN_ALIKE = 2
"""How many lines that differ in their numbers only."""
SHOWN_WEIGHTS = 6
"""How many weights of an update that has no formula."""


def audit_text(
    updates: Sequence[AuditedUpdate], failures: Sequence[Any], seen: int, unused: int, rank: int
) -> str:
    """What was found, one paragraph for each run of updates that are made in the same way.

    Args:
        updates: the audited ones.
        failures: what could not be audited.
        seen: how many updates the run has made.
        unused: how many micro-batches there were after the last of them.
        rank: of this process.
    """
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
    if unused and seen:
        lines += [
            "",
            f"After the last update the gradient of {_count(unused, 'micro-batch', 'es')} was used by none.",
        ]
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
        yield f"  A mistake{'' if len(run) == 1 else f', in update {first.number}'}: {first.mistake}"
    told = first.beneath or first
    if first.linear and not first.explained and first.norm > 0.0:
        yield f"  {_weights(told)}"
    yield from (f"  {line}" for line in _shortened(remarks(told)[:-1]))
    if first.beneath is not None:
        yield f"  Clipping multiplied the gradient by {_range([update.factor for update in run])}."
    yield from (f"  {note}" for note in _notes(run))
    at_most = "" if len(run) == 1 else " at most"
    units = f"{_count(len(first.weights), 'unit')} of {_count(first.units.n, 'sample')}"
    yield f"  Residual {worst:.2g}{at_most}, {units}."


def _shortened(lines: Sequence[str]) -> Iterator[str]:
    """Lines, of those that differ in numbers only the first ones."""
    kinds = Counter(without_numbers(line) for line in lines)
    told: Counter[str] = Counter()
    for line in lines:
        kind = without_numbers(line)
        told[kind] += 1
        if told[kind] <= SHOWN_ALIKE:
            yield line
        elif told[kind] == kinds[kind]:
            yield f"… {kinds[kind] - SHOWN_ALIKE} more such lines: print(audit.updates[…]) has them"


def _notes(run: Sequence[AuditedUpdate]) -> Iterator[str]:
    """The notes of all updates, each once, with the update that it is of first."""
    by_note: dict[str, list[AuditedUpdate]] = {}
    for update in run:
        for note in update.notes:
            by_note.setdefault(without_numbers(note), []).append(update)
    for kind, those in by_note.items():
        note = next(note for note in those[0].notes if without_numbers(note) == kind)
        if len(run) == 1:
            yield note
        elif len(those) == 1:
            yield f"In update {those[0].number}: {note}"
        else:
            yield f"In {len(those)} of these updates, the first of them {those[0].number}: {note}"


def _weights(found: Recovery) -> str:
    """The weights as numbers, where no name and no formula says them."""
    rows = weight_lines(found)
    said = [f"{row.weight} for {row.label}" for row in rows]
    more = f"; {len(rows) - SHOWN_WEIGHTS} others, .frame has them" if len(rows) > SHOWN_WEIGHTS else ""
    return f"Weights: {'; '.join(said[:SHOWN_WEIGHTS])}{more}."


def _range(numbers: Sequence[float]) -> str:
    least, most = min(numbers), max(numbers)
    return f"{least:.3g}" if least == most else f"{least:.3g} – {most:.3g}"


def _failed(failures: Sequence[Any]) -> Iterator[str]:
    reasons: dict[str, list[Any]] = {}
    for failure in failures:
        reasons.setdefault(without_numbers(failure.says), []).append(failure)
    for those in reasons.values():
        more = f" (and {len(those) - 1} more)" if len(those) > 1 else ""
        number = those[0].number
        yield f"Not audited{'' if number is None else f': update {number}{more}'}: {those[0].says}."


def audit_frame(updates: Sequence[AuditedUpdate]) -> pd.DataFrame:
    """The frames of all updates, one below the other."""
    import pandas as pd

    return pd.concat([update.frame for update in updates], ignore_index=True) if updates else pd.DataFrame()


def _count(number: int, what: str, plural: str = "s") -> str:
    return f"{number} {what}{plural if number != 1 else ''}"
