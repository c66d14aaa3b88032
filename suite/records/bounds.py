"""By how much rounding can move a number from one run to another.

Which bound a field has is declared in `suite.records.fields`; how large it is comes of the rows themselves.
Let `w = Σ|c_u|‖g_u‖` of a convention, whose ratio to `‖cᵀG‖` is the square root of the row's
`magnification` κ (the larger of the two conventions'). A reduced gradient is known to `ε·w`, where

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
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from suite.records.fields import Row, fields_of

EPSILONS = {
    "float64": 2.0**-52,
    "float32": 2.0**-23,
    "float16": 2.0**-10,
    "bfloat16": 2.0**-7,
    "tf32": 2.0**-10,
}
ADAM = 1e-3 / 1e-8
"""`lr/eps` of training checks: by how much a gradient's error moves a weight at most in a step of Adam."""


class RowSizes:
    """What the bounds of rows need that other rows of the same batch or case tell."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._known: dict[tuple[Any, ...], list[Row]] = {}
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


def _scale(_: str, old: Row, new: Row, sizes: RowSizes) -> float:
    error, kappa, _terms = sizes.of(old, new)
    return 4 * error * kappa * _ratio(old, new)


def _cosine(_: str, old: Row, new: Row, sizes: RowSizes) -> float:
    error, kappa, _terms = sizes.of(old, new)
    return 4 * error * kappa


def _norm(name: str, old: Row, new: Row, sizes: RowSizes) -> float:
    """How well a norm of a difference is known, relative to what the difference is of."""
    error, kappa, _terms = sizes.of(old, new)
    value = min(abs(row.get(name) or 0.0) for row in (old, new))
    return _ratio(old, new) * min(
        math.sqrt(8 * error * kappa), 4 * error * kappa * (1 + 1 / value) if value else math.inf
    )


def _entry(name: str, old: Row, new: Row, sizes: RowSizes) -> float:
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


def _loop(name: str, old: Row, new: Row, sizes: RowSizes) -> float:
    """How far a gradient may be from that of autograd's loop."""
    error, _kappa, _terms = sizes.of(old, new)
    return error - float(max(old.get(name) or 0.0, new.get(name) or 0.0))


def _rounding(name: str, old: Row, new: Row, sizes: RowSizes) -> float:
    _error, kappa, terms = sizes.of(old, new)
    return math.sqrt(terms * kappa) * EPSILONS[name.partition("_")[2] or new["dtype"]]


def _noise(_: str, old: Row, new: Row, sizes: RowSizes) -> float:
    """Each is a difference of sums over the samples of squares that are known to 2ε."""
    error, _kappa, _terms = sizes.of(old, new)
    names = [declared.name for declared in fields_of(new["kind"]) if declared.bound == "noise"]
    whole = max(abs(row[name] or 0.0) for row in (old, new) for name in names)
    return float(4 * error * whole * new["samples"])


def _training(_: str, old: Row, new: Row, sizes: RowSizes) -> float:
    error, _kappa, _terms = sizes.of(old, new)
    return float(new["steps"] * error * (ADAM if new["optimizer"] == "Adam" else 1.0))


BOUNDS: Mapping[str, Callable[[str, Row, Row, RowSizes], float]] = {
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
