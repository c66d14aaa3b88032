"""What changed from one run to another: verdicts, numbers beyond rounding, rows that are new or gone.

Two runs of one commit on one machine agree bit for bit. On another machine, with another version of
torch or another engine, rounding differs, and a number is another if it moved by more than rounding can
move it. Which bound a field has is declared in `suite.records.fields`; how large it is comes of the rows
themselves. Let `w = Σ|c_u|‖g_u‖` of a convention, whose ratio to
`‖cᵀG‖` is the square root of the row's `magnification` κ (the larger of the two conventions'). A reduced
gradient is known to `ε·w`, where

    ε = (params + units + 16)·eps + the largest recorded protocol error of both rows,

the first being the a-priori bound of a sum over the parameters and one over the units, and the second
what was measured between `cᵀG` and autograd's loop on this very batch. Inner products through the Gram
matrix are then known to `2ε·w_a·w_b`, and what follows from them, `q` being the ratio of the two norms
(at most 1 + relative discrepancy), to first order:

- cosine: `4εκ`; scale: `4εκ·q`;
- a norm of a difference (relative discrepancy, residual) of value `v`: `4εκ·q·(1 + 1/v)`, and never
  more than `√(8εκ)·q`, which is what is left where all digits cancel;
- the largest entry of the difference: as the relative discrepancy, times `√params` at most.

What a low precision does (`rounding`) is one draw of rounding errors, which differ by
`√(params + units)·√κ` of that format's epsilon: rounding errors add like a random walk (Higham and Mary,
2019, doi:10.1137/18M1226312). Weights at the end of a training check move by `ε` a step, and by
`lr/eps` times that under Adam, whose step is that sensitive to a gradient near zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from suite.algebra.significant import significant
from suite.records.fields import Row, fields_of
from suite.records.file import COST, row_identity

Key = tuple[Any, ...]

EPSILONS = {
    "float64": 2.0**-52,
    "float32": 2.0**-23,
    "float16": 2.0**-10,
    "bfloat16": 2.0**-7,
    "tf32": 2.0**-10,
}
ADAM = 1e-3 / 1e-8
"""`lr/eps` of training checks: by how much a gradient's error moves a weight at most in a step of Adam."""
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
    """
    old, new = _by_key(baseline), _by_key(run)
    several = any(len({key[-1] for key in rows}) > 1 for rows in (old, new))
    if not several:  # the same on another kind of device is to be compared, not told new
        old, new = ({key[:-1]: row for key, row in rows.items()} for rows in (old, new))
    common = [key for key in new if key in old]
    sizes = _Sizes((*old.values(), *new.values()))
    found = [change for key in common for change in _changes(old[key], new[key], sizes)]
    found.sort(key=lambda change: change.bound is not None)
    found += [RowChange(new[key], "new", after=_told(new[key])) for key in new if key not in old]
    found += [RowChange(old[key], "gone", before=_told(old[key])) for key in old if key not in new]
    return Diff(
        changes=found,
        compared=len(common),
        notes=_notes(baseline, run),
        warnings=_slower([(old[key], new[key]) for key in common]),
    )


def _by_key(rows: Iterable[Row]) -> dict[Key, Row]:
    """The rows by what they are of; which engine measured a number is compared, not a part of it."""
    return {row_identity({**row, "engine": None}): row for row in rows if row["kind"] != "environment"}


class _Sizes:
    """What the bounds of rows need that other rows of the same batch or case tell."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._known: dict[Key, list[Row]] = {}
        for row in rows:
            if row["kind"] == "discrepancy":
                self._known.setdefault((row["case"], row["batch_size"], row["batch"]), []).append(row)
                self._known.setdefault((row["case"],), []).append(row)

    def of(self, *rows: Row) -> tuple[float, float, float]:
        """`ε`, `κ` and `params + units` for rows of one batch, or of one case."""
        first = rows[0]
        cell = first["case"], first.get("batch_size"), first.get("batch")
        told = (
            rows if first["kind"] == "discrepancy" else self._known.get(cell) or self._known.get(cell[:1], [])
        )
        terms = max((row["params"] + row["units"] for row in told), default=0)
        error = max((row["protocol_error"] for row in told), default=0.0)
        kappa = max((row["magnification"] or 1.0 for row in told), default=1.0)
        eps = EPSILONS["float32" if str(first.get("device")).startswith("mps") else "float64"]
        return (terms + 16) * eps + error, kappa, float(terms)


def _changes(old: Row, new: Row, sizes: _Sizes) -> list[RowChange]:
    """What of a row changed, texts before numbers and the verdict first."""
    texts: list[RowChange] = []
    numbers: list[RowChange] = []
    for declared in fields_of(new["kind"]):
        name, bound = declared.name, declared.bound
        a, b = old.get(name), new.get(name)
        if bound is None or (declared.rare and name not in new):
            continue
        if bound == "digits":
            numbers += _claim_changes(new, a or {}, b or {})
        elif bound == "exact" or a is None or b is None:
            if a != b:
                (texts if bound == "exact" else numbers).append(RowChange(new, name, a, b))
        elif a != b and abs(a - b) > (most := BOUNDS[bound](name, old, new, sizes)):
            numbers.append(RowChange(new, name, a, b, most))
    return sorted(texts, key=lambda change: change.what != "verdict") + numbers


def _scale(_: str, old: Row, new: Row, sizes: _Sizes) -> float:
    error, kappa, _terms = sizes.of(old, new)
    return 4 * error * kappa * _ratio(old, new)


def _cosine(_: str, old: Row, new: Row, sizes: _Sizes) -> float:
    error, kappa, _terms = sizes.of(old, new)
    return 4 * error * kappa


def _norm(name: str, old: Row, new: Row, sizes: _Sizes) -> float:
    """How well a norm of a difference is known, relative to what the difference is of."""
    error, kappa, _terms = sizes.of(old, new)
    value = min(abs(row.get(name) or 0.0) for row in (old, new))
    return _ratio(old, new) * min(
        math.sqrt(8 * error * kappa), 4 * error * kappa * (1 + 1 / value) if value else math.inf
    )


def _entry(name: str, old: Row, new: Row, sizes: _Sizes) -> float:
    """How well the largest entry of a difference is known, beside the norm of the difference."""
    relative = _relative(old, new)
    if not relative:
        return 0.0
    entry = max(abs(row.get(name) or 0.0) for row in (old, new))
    return (
        float(math.sqrt(new.get("params", 1)) * entry)
        * _norm("relative_discrepancy", old, new, sizes)
        / relative
    )


def _loop(name: str, old: Row, new: Row, sizes: _Sizes) -> float:
    """How far a gradient may be from that of autograd's loop."""
    error, _kappa, _terms = sizes.of(old, new)
    return error - float(max(old.get(name) or 0.0, new.get(name) or 0.0))


def _rounding(name: str, old: Row, new: Row, sizes: _Sizes) -> float:
    _error, kappa, terms = sizes.of(old, new)
    return math.sqrt(terms * kappa) * EPSILONS[name.partition("_")[2] or new["dtype"]]


def _noise(_: str, old: Row, new: Row, sizes: _Sizes) -> float:
    """Each is a difference of sums over the samples of squares that are known to 2ε."""
    error, _kappa, _terms = sizes.of(old, new)
    names = [declared.name for declared in fields_of(new["kind"]) if declared.bound == "noise"]
    whole = max(abs(row[name] or 0.0) for row in (old, new) for name in names)
    return float(4 * error * whole * new["samples"])


def _training(_: str, old: Row, new: Row, sizes: _Sizes) -> float:
    error, _kappa, _terms = sizes.of(old, new)
    return float(new["steps"] * error * (ADAM if new["optimizer"] == "Adam" else 1.0))


BOUNDS: Mapping[str, Callable[[str, Row, Row, _Sizes], float]] = {
    "scale": _scale,
    "cosine": _cosine,
    "norm": _norm,
    "entry": _entry,
    "loop": _loop,
    "rounding": _rounding,
    "noise": _noise,
    "training": _training,
}
"""By how much rounding moves a number at most, by the name of the bound that its field declares."""


def _relative(old: Row, new: Row) -> float:
    return max(abs(float(row.get("relative_discrepancy") or 0.0)) for row in (old, new))


def _ratio(old: Row, new: Row) -> float:
    """How large one gradient is, relative to the other, at most."""
    return 1 + (_relative(old, new) if "relative_discrepancy" in new else abs(new.get("scale") or 0.0))


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
        item = new["case"], new.get("batch_size"), new.get("batch"), new.get("claim"), new["kind"] == "proof"
        if item not in seen and old["seconds"] > 0:
            seen.add(item)
            ratios.setdefault(new["case"], []).append(new["seconds"] / old["seconds"])
    found: Mapping[str, float] = {case: median(some) for case, some in ratios.items()}
    return [
        f"{case} took {significant(ratio, 2)} times as long"
        for case, ratio in found.items()
        if ratio > SLOWER
    ]
