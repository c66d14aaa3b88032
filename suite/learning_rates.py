"""Equivalent learning rates: for each convention and reference, the factor that takes the same step.

A convention whose gradient is `s` times the reference's takes the reference's steps when its learning
rate is `1/s` times the reference's. The factor is one number only if the scale is the same on every
batch of a size, and there is none where the gradients differ in direction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from suite.discrepancy import EPS, Verdict
from suite.symbols import Formula, formula

Row = dict[str, Any]
Formulas = dict[tuple[str, str, str], Formula | None]
KEYS = ("case", "batch_size", "samples", "convention", "reference")


def learning_rates(discrepancies: Sequence[Row]) -> list[Row]:
    """Rows of kind `learning_rate`, one a case, batch size, number of samples and pair of conventions.

    The ragged last batch of an epoch has fewer samples and so rows of its own.

    Args:
        discrepancies: rows of kind `discrepancy`.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in discrepancies:
        groups.setdefault(tuple(row[key] for key in KEYS), []).append(row)
    known = formulas(discrepancies)
    return [_law(rows, known.get(pair_of(rows[0]))) for rows in groups.values()]


def formulas(discrepancies: Iterable[Row]) -> Formulas:
    """The formula of the scale, by case, convention and reference, where the scale has one.

    Cases in which the two differ in direction have none. The others share one formula if it gives the
    scale in all of them (those with tokens apart); or else each has its own.
    """
    pairs: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in discrepancies:
        by_case = pairs.setdefault((row["convention"], row["reference"]), {})
        by_case.setdefault(row["case"], []).append(row)
    found: Formulas = {}
    for pair, by_case in pairs.items():
        kinds: dict[bool, dict[str, list[Row]]] = {}
        for case, rows in by_case.items():
            if all(row["verdict"] != Verdict.DIRECTION.value for row in rows):
                kinds.setdefault("V" in rows[0]["quantities"], {})[case] = rows
        for cases in kinds.values():
            shared = _common([row for rows in cases.values() for row in rows])
            for case, rows in cases.items():
                found[case, *pair] = shared or _common(rows)
    return found


def _common(rows: Iterable[Row]) -> Formula | None:
    """The simplest formula that gives the scale on every one of these batches."""
    return formula([(r["scale"], r["quantities"]) for r in rows if r["scale"] is not None])


def pair_of(row: Row) -> tuple[str, str, str]:
    """Case, convention and reference of a row: the key of `formulas`."""
    return row["case"], row["convention"], row["reference"]


def _law(rows: Sequence[Row], found: Formula | None) -> Row:
    first = rows[0]
    scales = [row["scale"] for row in rows if row["scale"] is not None]
    status, factor, reason = _judge(rows, scales, found)
    return {
        "kind": "learning_rate",
        **{key: first[key] for key in KEYS},
        "batches": len(rows),
        "optimizer": "SGD",
        "hyperparameter": "lr",
        "factor": factor,
        "status": status,
        "scale_min": min(scales, default=None),
        "scale_max": max(scales, default=None),
        "scale_is": None if found is None else str(found),
        "reason": reason,
    }


def _judge(
    rows: Sequence[Row], scales: Sequence[float], found: Formula | None
) -> tuple[str, float | None, str]:
    """Whether one factor fits all of these batches: the status, the factor, and why there is none."""
    apart = [row for row in rows if row["verdict"] == Verdict.DIRECTION.value]
    if apart:
        return "impossible", None, max(apart, key=lambda row: row["residual"])["reason"]
    if not scales:
        return "impossible", None, "both gradients are zero: every factor fits"
    low, high = min(scales), max(scales)
    if low <= 0:
        return "impossible", None, f"the scale {low:.6g} is not positive: no learning rate is"
    # Scales are quotients of coefficients, and those come of a sum over the units at most.
    rounding = 2 * (max(row["units"] for row in rows) + 16) * EPS
    if high - low > rounding * high:
        span = f"1/scale runs from {1 / high:.6g} to {1 / low:.6g} over {len(scales)} batches"
        return "varies", None, span
    if len(scales) == 1 and (found is None or not found.fixed):
        return "varies", None, f"1/scale is {1 / low:.6g} on the only batch, and comes of its data"
    silent = len(rows) - len(scales)
    return "exact", 1 / scales[0], f"{silent} batches have a zero gradient" if silent else ""
