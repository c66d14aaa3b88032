"""What the calculator of a report needs: conventions as powers of sizes, and the laws as exponents.

Nothing is written down a second time: the powers are found by evaluating each convention's own column on
batches of different sizes, and the exponents are those of `suite.equivalence.laws`.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from suite.algebra.columns import COUNTABLE, NEEDS, SAMPLES, SIZES, Size
from suite.equivalence.equivalent import exact_reason
from suite.equivalence.law import Law
from suite.equivalence.scales import MOST_SAMPLES, Sizes, uneven_lengths
from suite.errors import UsageError

if TYPE_CHECKING:
    from suite.conventions import Convention


# Sizes that share no factors beyond those that they must, so that no power hides behind another.
def _sizes(samples: int, groups: Iterable[int], others: Iterable[int]) -> dict[str, int]:
    numbers = {True: iter(groups), False: iter(others)}
    return {size.name: samples if size is SAMPLES else next(numbers[size.groups]) for size in SIZES}


_BASE = _sizes(60, (2, 3), (7, 11, 13, 17, 19))
_CHECKS = [_sizes(120, (5, 4), (17, 19, 23, 29, 31)), _sizes(210, (7, 2), (4, 210, 9, 25, 11))]


def calculator() -> dict[str, Any]:
    """All that the page's script multiplies with."""
    from suite.conventions import conventions
    from suite.equivalence.laws import LAWS

    known = {c.name: found for c in conventions if (found := _convention(c)) is not None}
    return {
        "conventions": known,
        "laws": [_law(law) for law in LAWS],
        "sizes": [
            {key: getattr(size, key) for key in ("symbol", "label", "whole", "default", "groups")}
            | {"most": MOST_SAMPLES if size is SAMPLES else COUNTABLE}
            for size in SIZES
        ],
        "needs": {need.name: need.size.symbol for need in NEEDS.values() if need.size is not None},
    }


def _by_sizes(convention: Convention) -> bool:
    return all(NEEDS[need].size is not None for need in convention.needs)


def _convention(convention: Convention) -> dict[str, Any] | None:
    """The powers in the coefficient of a unit and of a regulariser; None where more than sizes matter."""
    if convention.uses_gram or not _by_sizes(convention) or ":" in convention.name:
        return None
    unit = _powers(convention, 0)
    if unit is None:
        return None
    return {
        "unit": unit,
        "regulariser": _powers(convention, -1) or {"constant": [1, 1], "powers": {}},
        "needs": [need for need in convention.needs if need != "positions"],
        "tokens": "positions" in convention.needs,
        "uneven": {size.symbol: _uneven(convention, size) for size in SIZES if size.groups},
        "ragged": {kind: _ragged(convention, sizes) for kind, sizes in _RAGGED.items()},
        "summary": convention.summary,
    }


def _powers(convention: Convention, which: int) -> dict[str, Any] | None:
    """`constant · Π size**power` of one coefficient, if that is what it is."""
    base = _coefficient(convention, _BASE, which)
    powers: dict[str, int] = {}
    for size, value in _BASE.items():
        power = math.log(_coefficient(convention, _BASE | {size: 2 * value}, which) / base) / math.log(2)
        powers[size] = round(power)
    constant = Fraction(base / _monomial(powers, _BASE)).limit_denominator(1000)
    for sizes in _CHECKS:
        expected = float(constant) * _monomial(powers, sizes)
        if not math.isclose(_coefficient(convention, sizes, which), expected, rel_tol=1e-12):
            return None
    named = {size.symbol: powers[size.name] for size in SIZES if powers[size.name]}
    return {"constant": [constant.numerator, constant.denominator], "powers": named}


def _monomial(powers: Mapping[str, int], sizes: Mapping[str, int]) -> float:
    return math.prod(float(sizes[size]) ** power for size, power in powers.items())


def _coefficient(convention: Convention, sizes: Mapping[str, Any], which: int) -> float:
    return float(convention.column(Sizes(**sizes).units(regulariser=True))[which])


def _uneven(convention: Convention, groups: Size) -> str:
    """How samples are weighed where they do not divide evenly; the same text for the same weighing."""
    sizes = Sizes(7, 2, expected_batch_size=5, max_elements=3)
    sizes = replace(sizes, **{groups.name: 3})
    try:
        column = convention.column(sizes.units())
    except UsageError:
        return ""
    return "" if np.ptp(column) < 1e-12 else " ".join(f"{c:.6g}" for c in column / column.max())


_GROUPED = {"": (1, 1), "K": (3, 1), "R": (1, 2), "KR": (3, 2)}
_RAGGED = {
    "one": Sizes(1, 5, max_elements=11, expected_batch_size=7),
    **{kind: Sizes(12, 5, *groups, 7, 11) for kind, groups in _GROUPED.items()},
}
"""A batch of each kind that `suite.equivalence.scales` tells apart: of one sample, and of groups."""


def _ragged(convention: Convention, sizes: Sizes) -> dict[str, str]:
    """What unequal lengths and groups do to the coefficients, and to their direction: a text for each."""
    found: dict[str, list[str]] = {}
    try:
        even = convention.column(sizes.units())
        for ragged, lengths in itertools.product((False, True), (None, *uneven_lengths(sizes))):
            if ragged or lengths is not None:
                kind = "both" if ragged and lengths is not None else "group" if ragged else "length"
                factor = convention.column(sizes.units(lengths=lengths, ragged=ragged)) / even
                found.setdefault(kind, []).append(_digest(factor))
                found.setdefault(f"{kind} direction", []).append(_digest(factor / factor[0]))
    except UsageError:  # it does not apply
        return {}
    return {kind: _digest_of(texts) for kind, texts in found.items()}


def _digest(values: Any) -> str:
    return " ".join(f"{value:.9g}" for value in values)


def _digest_of(texts: Iterable[str]) -> str:
    return hashlib.blake2s("\n".join(texts).encode(), digest_size=4).hexdigest()


def _law(law: Law) -> dict[str, Any]:
    early = None
    if law.warm_up is not None:
        first = law.warm_up(law.settings({}))[1]
        early = {name: entry.exponent for name, entry in first.hyperparameters.items()}
    return {
        "name": law.name,
        "hyperparameters": list(_entries(law)),
        "caveats": _caveats(law),
        "rounding": exact_reason(law, 3).removeprefix("exact up to rounding"),
        "early": early,
    }


def _caveats(law: Law) -> list[dict[str, Any]]:
    """What the law says of scales of 2 and of 3, where a hyperparameter is zero, none or some, and else."""
    if law.caveat is None:
        return []

    def says(**changed: Any) -> list[str]:
        settings = {**law.settings({}), **changed}
        return [law.caveat(settings, scale) if law.caveat else "" for scale in (2, 3)]

    usual = says()
    found: list[dict[str, Any]] = []
    for entry in _entries(law):
        for kind, value in (("zero", 0.0), ("some", 0.5), ("none", None)):
            default = entry["default"]
            own = says(**{entry["name"]: (value, *default[1:]) if isinstance(default, tuple) else value})
            if own != usual:
                found.append({"name": entry["name"], "is": kind, "says": own})
    return [*found, {"name": None, "is": None, "says": usual}]


def _entries(law: Law) -> Iterable[dict[str, Any]]:
    """The hyperparameters that are numbers, and the options under which an exponent is another."""
    flags = {entry.flag for entry in law.hyperparameters.values() if entry.flag}
    for name, entry in law.hyperparameters.items():
        values = entry.default if isinstance(entry.default, tuple) else (entry.default,)
        number = any(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        bounded = not any(isinstance(v, float) and math.isinf(v) for v in values)  # or else nothing scales it
        if (number and bounded) or name in flags:
            yield {
                "name": name,
                "default": entry.default,
                "exponent": entry.exponent,
                "flag": entry.flag,
                "implied": entry.implied,
                "why": entry.why,
            }
