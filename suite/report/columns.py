"""The columns that a table of measurements can have: what each shows of the rows that share a line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from suite.algebra.discrepancy import Verdict
from suite.report.learning_rates import Formulas, pair_of
from suite.report.tables import STATUSES

if TYPE_CHECKING:
    from suite.algebra.formula import Formula
    from suite.report.run_result import Row

Value = str | int | float | None | tuple[float, float]
Cell = Callable[[Sequence["Row"], Formulas], Value]

VERDICTS = [verdict.value for verdict in Verdict]


@dataclass(frozen=True)
class Column:
    """A column of a table of measurements.

    Args:
        name: as people type it, the record's own word where there is one.
        header: above the column.
        cell: its value for the rows that share a line, and the formulas of the run; a pair is a range.
        key: whether rows that differ in it are on different lines.
        digits: significant ones; 0 for text.
    """

    name: str
    header: str
    cell: Cell
    key: bool = False
    digits: int = 0


def show(value: Value, digits: int) -> str:
    """A value for people, with this many significant digits; with 0 a number is exact."""
    if value is None:
        return "–"
    if isinstance(value, tuple):
        low, high = (show(end, digits) for end in value)
        return low if low == high else f"{low}–{high}"
    if isinstance(value, float) and digits:
        return f"{value:.{digits}g}"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _key(name: str, header: str = "") -> Column:
    return Column(name, header or name.replace("_", " "), lambda rows, _: rows[0].get(name), key=True)


def _card(name: str, header: str, attribute: str) -> Column:
    def cell(rows: Sequence[Row], _: Formulas) -> Value:
        from suite.conventions import conventions

        convention = rows[0]["convention"]
        return str(getattr(conventions[convention], attribute)) if convention in conventions else None

    return Column(name, header, cell)


def _extreme(name: str, header: str, pick: Callable[..., float] = max) -> Column:
    def cell(rows: Sequence[Row], _: Formulas) -> Value:
        return pick(found) if (found := [row[name] for row in rows if row.get(name) is not None]) else None

    return Column(name, header, cell, digits=2)


def _worst(name: str, order: Sequence[str]) -> Column:
    return Column(name, name, lambda rows, _: max((row[name] for row in rows), key=order.index))


def _span(rows: Sequence[Row], *names: str) -> Value:
    found = [row[name] for row in rows for name in names if row.get(name) is not None]
    if not found:
        return None
    return (min(found), max(found)) if min(found) != max(found) else found[0]


def _formulas(rows: Sequence[Row], known: Formulas) -> list[Formula]:
    """One or two formulas that say all of the cases in which the gradients have one direction."""
    found = dict.fromkeys(known[pair_of(row)] for row in rows if pair_of(row) in known)
    return [f for f in found if f is not None] if None not in found and len(found) <= 2 else []


def _scale(rows: Sequence[Row], known: Formulas) -> Value:
    return " or ".join(map(str, _formulas(rows, known))) or _span(rows, "scale")


def _factor(rows: Sequence[Row], known: Formulas) -> Value:
    """The formula of SGD's rate; or else the number or range, where each batch size has one."""
    rate = all((row["optimizer"], row["hyperparameter"]) == ("SGD", "lr") for row in rows)
    if rate and (formulas := _formulas(rows, known)):
        return " or ".join(str(formula.inverse) for formula in formulas)
    return _span(rows, "factor") if all(row["status"] == "exact" for row in rows) else None


def _residual(rows: Sequence[Row], _: Formulas) -> Value:
    """What is below rounding is none."""
    return max((r["residual"] for r in rows if r["verdict"] == Verdict.DIRECTION.value), default=0.0)


def _count(name: str, *keys: str) -> Column:
    return Column(name, name, lambda rows, _: len({tuple(row[key] for key in keys) for row in rows}))


def _reason(rows: Sequence[Row], _: Formulas) -> Value:
    """Of the row with the largest residual, or of the first that has one."""
    told = [row for row in rows if row.get("reason")]
    return str(max(told, key=lambda row: row.get("residual") or 0.0)["reason"]) if told else None


_PLACE = [_key("case"), _key("batch_size"), _key("samples")]
_PAIR = [_key("convention"), _key("reference")]
_CARDS = [
    _card("denominator", "unit of the denominator", "denominator"),
    _card("formula", "formula", "formula"),
    _card("family", "family", "family"),
    _card("used_by", "used by", "used_by"),
    _card("source", "source", "source"),
]
_REASON = Column("reason", "reason", _reason)


def _named(columns: Sequence[Column]) -> dict[str, Column]:
    return {column.name: column for column in columns}


COLUMNS: Mapping[str, Mapping[str, Column]] = {
    "discrepancies": _named(
        [
            *_PLACE,
            _key("batch"),
            *_PAIR,
            *_CARDS,
            Column("scale", "scale", _scale, digits=4),
            _extreme("cosine", "cosine", min),
            _extreme("relative_discrepancy", "relative"),
            Column("residual", "direction", _residual, digits=2),
            _extreme("max_abs", "largest difference"),
            _extreme("rounding", "rounding"),
            _extreme("rounding_bfloat16", "rounding, bfloat16"),
            _extreme("rounding_tf32", "rounding, tf32"),
            _extreme("protocol_error", "protocol error"),
            _worst("verdict", VERDICTS),
            _count("cases", "case"),
            _count("batches", "case", "batch_size", "batch"),
            _REASON,
            *(_key(name) for name in ("engine", "device", "dtype", "seed", "params", "units")),
        ]
    ),
    "learning_rates": _named(
        [
            *_PLACE,
            *_PAIR,
            _key("optimizer"),
            _key("hyperparameter"),
            *_CARDS,
            Column("factor", "factor", _factor, digits=4),
            Column("scale", "scale", lambda rows, _: _span(rows, "scale_min", "scale_max"), digits=4),
            _worst("status", STATUSES),
            _extreme("distance", "apart"),
            _extreme("distance_unchanged", "apart, unchanged"),
            _extreme("distance_best_constant", "apart, best constant rate"),
            _extreme("distance_per_step", "apart, a rate a step"),
            _REASON,
        ]
    ),
}
"""By kind of table and name."""

DEFAULTS = {
    "discrepancies": (
        "convention", "reference", "denominator", "scale", "relative_discrepancy", "residual", "verdict",
    ),
    "learning_rates": (
        "convention", "reference", "optimizer", "hyperparameter", "factor", "status", "distance",
        "distance_unchanged",
    ),
}  # fmt: skip
