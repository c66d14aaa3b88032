"""What changed from one run to another: verdicts, numbers beyond rounding, rows that are new or gone.

Two runs of one commit on one machine agree bit for bit. On another machine, with another version of
torch or another engine, rounding differs, and a number is another if it moved by more than rounding can
move it: `suite.records.bounds`. The verdicts `identical` and `rounding` are one here: which of them it is,
rounding decides.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from suite.algebra.significant import significant
from suite.errors import UsageError
from suite.records.bounds import BOUNDS, EPSILONS, RowSizes
from suite.records.fields import RECORDED, Row, fields_of
from suite.records.file import COST, row_identity

Key = tuple[Any, ...]

SLOWER = 1.5
"""What is worth a warning; no two timings are alike."""

WHERE = ("case", "batch_size", "batch", "claim", "convention", "reference", "optimizer")


@dataclass(frozen=True)
class RowChange:
    """A row that is not what it was.

    Args:
        row: of the new run; of the baseline where it is gone.
        what: the name of the field; `new` or `gone`.
        before: its value in the baseline.
        after: its value in the run.
        bound: by how much rounding could have moved it; None for what is no number.
    """

    row: Row
    what: str
    before: Any = None
    after: Any = None
    bound: float | None = None

    @property
    def where(self) -> dict[str, Any]:
        """Which row it is."""
        return {key: self.row[key] for key in WHERE if self.row.get(key) not in (None, "")}


@dataclass(frozen=True)
class Diff:
    """What changed between two runs.

    Args:
        changes: verdicts first, then numbers, then rows that are new or gone.
        compared: how many rows both have.
        notes: what differs in how they were measured; no change by itself.
        warnings: cases that became slower; no change.
    """

    changes: list[RowChange] = field(default_factory=list)
    compared: int = 0
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def diff(baseline: Sequence[Row], run: Sequence[Row]) -> Diff:
    """Compare two runs row by row.

    Args:
        baseline: the rows of a run, as `records.read` gives them.
        run: those of another.

    Raises:
        UsageError: They were measured with other seeds or formats: no row of one is in the other.
    """
    _require_comparable(baseline, run)
    old, new = _by_key(baseline), _by_key(run)
    several = any(len({key[-1] for key in rows}) > 1 for rows in (old, new))
    if not several:  # the same on another kind of device is to be compared, not told new
        old, new = ({key[:-1]: row for key, row in rows.items()} for rows in (old, new))
    common = [key for key in new if key in old]
    sizes = RowSizes((*old.values(), *new.values()))
    absent = dict(_absent(old.values(), new.values()))
    found = [change for key in common for change in _changes(old[key], new[key], sizes, absent)]
    found.sort(key=lambda change: change.bound is not None)
    found += [RowChange(new[key], "new", after=_told(new[key])) for key in new if key not in old]
    found += [RowChange(old[key], "gone", before=_told(old[key])) for key in old if key not in new]
    return Diff(
        changes=found,
        compared=len(common),
        notes=_notes(baseline, run)
        + [
            f"{name}: only the {side} has it; its device, or its format, is another"
            for name, side in absent.items()
        ],
        warnings=_slower([(old[key], new[key]) for key in common]),
    )


def _require_comparable(baseline: Iterable[Row], run: Iterable[Row]) -> None:
    measured = [
        [row for row in rows if row["kind"] not in ("environment", "claim")] for rows in (baseline, run)
    ]
    for key, option in (("seed", "--seed"), ("dtype", "--dtype")):
        old, new = ({row[key] for row in rows if row.get(key) is not None} for rows in measured)
        if old and new and not old & new:
            before, after = (" and ".join(map(str, sorted(some))) for some in (old, new))
            raise UsageError(
                f"the runs have no row in common: {key} {before} in the one, {after} in the other; measure "
                f"again with {option} {before}"
            )


def _by_key(rows: Iterable[Row]) -> dict[Key, Row]:
    """The rows by what they are of; which engine measured a number is compared, not a part of it."""
    return {row_identity({**row, "engine": None}): row for row in rows if row["kind"] != "environment"}


def _absent(old: Iterable[Row], new: Iterable[Row]) -> Iterator[tuple[str, str]]:
    """The formats that only one of the runs measured: no device has all. And which run that is."""
    before, after = (
        {name for row in rows for name, value in row.items() if value is not None} for rows in (old, new)
    )
    rare = dict.fromkeys(field.name for kind in RECORDED for field in fields_of(kind) if field.rare)
    for name in rare:
        if (name in before) != (name in after):
            yield name, "baseline" if name in before else "run"


ONE_GRADIENT = ("identical", "rounding")
"""Verdicts that rounding tells apart: whether it left anything hangs on the last bit of a Gram matrix."""


def _differ(name: str, a: object, b: object) -> bool:
    if name == "verdict" and a in ONE_GRADIENT and b in ONE_GRADIENT:
        return False
    return a != b


def _changes(old: Row, new: Row, sizes: RowSizes, absent: Container[str]) -> list[RowChange]:
    """What of a row changed, texts before numbers and the verdict first."""
    texts: list[RowChange] = []
    numbers: list[RowChange] = []
    for declared in fields_of(new["kind"]):
        name, bound = declared.name, declared.bound
        a, b = old.get(name), new.get(name)
        if bound is None or name in absent:
            continue
        if bound == "digits":
            numbers += _claim_changes(new, a or {}, b or {})
        elif bound == "exact" or a is None or b is None:
            if _differ(name, a, b):
                (texts if bound == "exact" else numbers).append(RowChange(new, name, a, b))
        elif a != b and abs(a - b) > (most := BOUNDS[bound](name, old, new, sizes)):
            numbers.append(RowChange(new, name, a, b, most))
    return sorted(texts, key=lambda change: change.what != "verdict") + numbers


def _claim_changes(row: Row, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[RowChange]:
    """A claim's numbers are of all kinds: they are others if less than half of their digits stayed."""
    found = []
    for name in sorted({*old, *new}):
        a, b = old.get(name), new.get(name)
        if not (isinstance(a, float) and isinstance(b, float)):
            if a != b:
                found.append(RowChange(row, name, a, b))
        elif abs(a - b) > (most := math.sqrt(EPSILONS["float64"]) * max(abs(a), abs(b), 1.0)):
            found.append(RowChange(row, name, a, b, most))
    return found


def _told(row: Row) -> str:
    return str(row.get("verdict") or row.get("reason") or row["kind"])


def _notes(baseline: Iterable[Row], run: Iterable[Row]) -> list[str]:
    """The versions, machines and states that differ."""
    old, new = (_environments(rows) for rows in (baseline, run))
    left_out = {"schema", "kind", "started", *COST}
    names = [name for name in dict.fromkeys((*old, *new)) if name not in left_out]
    told = [(name, *(" and ".join(where.get(name, ["–"])) for where in (old, new))) for name in names]
    return [f"{name}: {before} → {after}" for name, before, after in told if before != after]


def _environments(rows: Iterable[Row]) -> dict[str, list[str]]:
    values: dict[str, set[str]] = {}
    for row in rows:
        if row["kind"] == "environment":
            for name, value in row.items():
                values.setdefault(name, set()).add("–" if value is None else str(value))
    return {name: sorted(found) for name, found in values.items()}


def _slower(pairs: Iterable[tuple[Row, Row]]) -> list[str]:
    """The cases whose items took longer: the median of the ratios, each item counted once."""
    seen: set[Key] = set()
    ratios: dict[str, list[float]] = {}
    for old, new in pairs:
        item = (
            new["case"],
            new.get("batch_size"),
            new.get("batch"),
            new.get("claim"),
            new["kind"] == "training_check",
        )
        if item not in seen and old["seconds"] > 0:
            seen.add(item)
            ratios.setdefault(new["case"], []).append(new["seconds"] / old["seconds"])
    found: Mapping[str, float] = {case: median(some) for case, some in ratios.items()}
    return [
        f"{case} took {significant(ratio, 2)} times as long"
        for case, ratio in found.items()
        if ratio > SLOWER
    ]
