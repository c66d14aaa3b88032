"""Equivalent hyperparameters of a run: for each pair of conventions, the factors that take the same step.

A convention whose gradient is `s` times the reference's takes the reference's steps when each
hyperparameter is `s**exponent` times the reference's: the learning rate of SGD `1/s` times. A factor
is one number only if the scale is the same on every batch of a size, and there is none where the
gradients differ in direction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from suite.algebra.discrepancy import EPS, Verdict
from suite.algebra.formula import Formula
from suite.algebra.scale_formula import Batches, own_formula, scale_formula
from suite.algebra.symbols import implied
from suite.equivalence import equivalent, law
from suite.equivalence.law import rescaled
from suite.records.fields import TRAINED, Row

Formulas = dict[tuple[str, str, str], Formula | None]
PAIR_KEYS = ("case", "batch_size", "samples", "convention", "reference")


def learning_rates(
    discrepancies: Sequence[Row], optimizers: Sequence[str] = (), checks: Iterable[Row] = ()
) -> list[Row]:
    """Rows of kind `learning_rate`, one a case, batch size, number of samples and pair of conventions.

    Each begins with the learning rate of SGD. Where one factor fits and is not 1, a row follows for
    each other hyperparameter of the `optimizers` that goes with the scale. The ragged last batch of an
    epoch has fewer samples and so rows of its own.

    Args:
        discrepancies: rows of kind `discrepancy`.
        optimizers: names of optimizers whose laws are wanted.
        checks: rows of kind `training_check`, joined where the pair and the optimizer were trained.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in discrepancies:
        groups.setdefault(tuple(row[key] for key in PAIR_KEYS), []).append(row)
    known = formulas(discrepancies)
    trained = {tuple(row[key] for key in (*PAIR_KEYS, "optimizer")): row for row in checks}
    found = []
    for rows in groups.values():
        for rate in _with_other_hyperparameters(_law(rows, known.get(pair_of(rows[0]))), optimizers):
            check = trained.get(tuple(rate[key] for key in (*PAIR_KEYS, "optimizer")), {})
            found.append(rate | {field.name: check.get(field.name) for field in TRAINED})
    return found


def _with_other_hyperparameters(rate: Row, optimizers: Sequence[str]) -> list[Row]:
    """`rate`, which is SGD's, and a row for each other hyperparameter that goes with the scale."""
    rows = [rate]
    if rate["status"] != "exact" or rate["factor"] == 1:
        return rows
    scale = 1 / rate["factor"]
    for name in optimizers:
        law_ = law(name)
        exact = equivalent(name, {}, scale=scale)
        for hyperparameter, exponents in law_.exponents(law_.settings({})).items():
            exponent = exponents if isinstance(exponents, int) else next(filter(None, exponents), 0)
            if exponent == 0 or (name, hyperparameter) == ("SGD", "lr"):
                continue
            factor = float(rescaled(hyperparameter, 1.0, scale, exponent))
            changed = {"optimizer": name, "hyperparameter": hyperparameter, "factor": factor}
            if not exact.exact:
                changed |= {"status": "impossible", "factor": None, "reason": exact.reason}
            rows.append(rate | changed)
    return rows


def formulas(discrepancies: Iterable[Row]) -> Formulas:
    """The formula of the scale, by case, convention and reference, where the scale has one.

    Cases in which the two differ in direction have none. The others share one formula if it gives the
    scale in all of them (those with tokens apart); or else each has its own. The quotient of the
    conventions' own formulas comes first; the simplest one that fits only where that gives no scale.
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
            batches = {case: _batches(rows) for case, rows in cases.items()}
            every = [batch for of_case in batches.values() for batch in of_case]
            shared = _common(*pair, every)
            for case, of_case in batches.items():
                found[case, *pair] = shared or _common(*pair, of_case)
    return found


def _batches(rows: Iterable[Row]) -> Batches:
    return [(row["scale"], row["quantities"]) for row in rows if row["scale"] is not None]


def _common(convention: str, reference: str, batches: Batches) -> Formula | None:
    """The formula that gives the scale on every one of these batches: that of the conventions, if it does."""
    from suite.conventions import conventions

    pair = [conventions[name] for name in (convention, reference) if name in conventions]
    products = [found.product for found in pair if found.product is not None]
    if len(products) == 2:
        own = own_formula(products[0], products[1], batches)
        if own is not None:
            return own
    names = None if len(pair) < 2 else {name for found in pair for name in implied(found.needs)}
    return scale_formula(batches, names)


def pair_of(row: Row) -> tuple[str, str, str]:
    """Case, convention and reference of a row: the key of `formulas`."""
    return row["case"], row["convention"], row["reference"]


def _law(rows: Sequence[Row], found: Formula | None) -> Row:
    first = rows[0]
    scales = [row["scale"] for row in rows if row["scale"] is not None]
    status, factor, reason = _judge(rows, scales, found)
    return {
        "kind": "learning_rate",
        **{key: first[key] for key in PAIR_KEYS},
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
