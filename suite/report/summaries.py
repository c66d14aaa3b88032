"""What a column of a table of measurements shows of rows that share a line: a range, the largest, a count.

Which columns there are, and in which order, is declared in `suite.records.fields`; here is what each of
the summaries that are named there computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, get_args

from suite.algebra.discrepancy import Verdict
from suite.algebra.significant import significant
from suite.records.declaration import Field, Shown
from suite.records.fields import Row, table_columns
from suite.report.learning_rates import Formulas, pair_of

if TYPE_CHECKING:
    from suite.algebra.formula import Formula

Value = str | int | float | None | tuple[float, float]
Summarise = Callable[[Sequence[Row], Formulas], Value]


@dataclass(frozen=True)
class TableColumn:
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
    cell: Summarise
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
        return significant(value, digits)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _key(field: Field, rows: Sequence[Row], _: Formulas) -> Value:
    value: Value = rows[0].get(field.name)
    return value


def _largest(field: Field, rows: Sequence[Row], _: Formulas) -> Value:
    return max((row[field.name] for row in rows if row.get(field.name) is not None), default=None)


def _smallest(field: Field, rows: Sequence[Row], _: Formulas) -> Value:
    return min((row[field.name] for row in rows if row.get(field.name) is not None), default=None)


def _worst(field: Field, rows: Sequence[Row], _: Formulas) -> Value:
    """The last of the values that its type lists, which are in that order."""
    return str(max((row[field.name] for row in rows), key=get_args(field.type).index))


def _scale(field: Field, rows: Sequence[Row], known: Formulas) -> Value:
    return " or ".join(map(str, _formulas(rows, known))) or _span(rows, field.name)


def _range(field: Field, rows: Sequence[Row], _: Formulas) -> Value:
    return _span(rows, f"{field.name}_min", f"{field.name}_max")


def _factor(field: Field, rows: Sequence[Row], known: Formulas) -> Value:
    """The formula of SGD's rate; or else the number or range, where each batch size has one."""
    rate = all((row["optimizer"], row["hyperparameter"]) == ("SGD", "lr") for row in rows)
    if rate and (formulas := _formulas(rows, known)):
        return " or ".join(str(formula.inverse) for formula in formulas)
    return _span(rows, field.name) if all(row["status"] == "exact" for row in rows) else None


def _direction(field: Field, rows: Sequence[Row], _: Formulas) -> Value:
    """What is below rounding is none."""
    return max((r[field.name] for r in rows if r["verdict"] == Verdict.DIRECTION.value), default=0.0)


def _reason(field: Field, rows: Sequence[Row], _: Formulas) -> Value:
    """Of the row with the largest residual, or of the first that has one."""
    told = [row for row in rows if row.get(field.name)]
    return str(max(told, key=lambda row: row.get("residual") or 0.0)[field.name]) if told else None


def _card(field: Field, rows: Sequence[Row], _: Formulas) -> Value:
    """What the convention of these rows says of itself."""
    from suite.conventions import conventions

    convention = rows[0]["convention"]
    return str(getattr(conventions[convention], field.name)) if convention in conventions else None


def _count(keys: Sequence[str], _: Field, rows: Sequence[Row], __: Formulas) -> Value:
    return len({tuple(row[key] for key in keys) for row in rows})


SUMMARIES: Mapping[str, Callable[[Field, Sequence[Row], Formulas], Value]] = {
    "key": _key,
    "largest": _largest,
    "smallest": _smallest,
    "worst": _worst,
    "scale": _scale,
    "range": _range,
    "factor": _factor,
    "direction": _direction,
    "reason": _reason,
    "card": _card,
    "cases": partial(_count, ("case",)),
    "batches": partial(_count, ("case", "batch_size", "batch")),
}
"""What a line shows of its rows, by the name that a field declares."""


def _span(rows: Sequence[Row], *names: str) -> Value:
    found = [row[name] for row in rows for name in names if row.get(name) is not None]
    if not found:
        return None
    return (min(found), max(found)) if min(found) != max(found) else found[0]


def _formulas(rows: Sequence[Row], known: Formulas) -> list[Formula]:
    """One or two formulas that say all of the cases in which the gradients have one direction."""
    found = dict.fromkeys(known[pair_of(row)] for row in rows if pair_of(row) in known)
    return [f for f in found if f is not None] if None not in found and len(found) <= 2 else []


def _column(field: Field) -> TableColumn:
    shown = field.table or Shown("key")
    return TableColumn(
        name=field.name,
        header=shown.header or field.name.replace("_", " "),
        cell=partial(SUMMARIES[shown.summary], field),
        key=shown.summary == "key",
        digits=shown.digits,
    )


TABLE_COLUMNS: Mapping[str, Mapping[str, TableColumn]] = {
    table: {field.name: _column(field) for field in table_columns(table)}
    for table in ("discrepancies", "learning_rates")
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
