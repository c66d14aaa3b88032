"""Every field of every row, declared once: its type, how `diff` bounds it, and where it is shown.

From these declarations follow what `suite.records.schema` accepts, what `suite.records.diff` compares,
the columns of the CSV files (`suite.report.run_result`) and of tables (`suite.report.summaries`), and the
made-up rows of the tests. A new field is one line here, beside the code in `suite.running` that writes
it; a test fails where one of the two is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Literal

from suite.records.declaration import (
    NO_DEFAULT,
    AtLeastOne,
    Bound,
    Field,
    Finite,
    NotNegative,
    Positive,
    Role,
    Shown,
    Status,
    Summary,
    VerdictName,
    Whole,
)

Row = dict[str, Any]
"""A row as it stands in the record: its fields by name."""

SCHEMA = 2


def _optional(field: Field) -> Field:
    return replace(field, default=None)


def _derived(name: str, summary: Summary, header: str = "", digits: int = 0) -> Field:
    """A column that a table computes from the rows of a line."""
    return Field(name, Any, None, role="derived", table=Shown(summary, header, digits))


def _largest(
    name: str, bound: Bound, header: str = "", *, default: Any = NO_DEFAULT, rare: bool = False
) -> Field:
    """A size of which a table shows the largest."""
    shown = Shown("largest", header, 2)
    return Field(name, NotNegative | None, default, bound=bound, csv=True, table=shown, rare=rare)


_KEY = Shown("key")

_CASE = Field("case", str, role="identity", csv=True, table=_KEY)
_BATCH_SIZE = Field("batch_size", AtLeastOne, role="identity", csv=True, table=_KEY)
_BATCH = Field("batch", str, role="identity", csv=True, table=Shown("key", after="samples"))
_CLAIM = Field("claim", str, role="identity", csv=True)
_CONVENTION = Field("convention", str, role="identity", csv=True, table=_KEY)
_REFERENCE = Field("reference", str, role="identity", csv=True, table=_KEY)
_OPTIMIZER = Field("optimizer", str, role="identity", csv=True, table=_KEY)
_ENGINE = Field("engine", str, role="identity")
_DTYPE = Field("dtype", str, role="identity")
_DEVICE = Field("device", str, role="identity")
_SEED = Field("seed", Whole, role="identity")
_SAMPLES = Field("samples", AtLeastOne, bound="exact", csv=True, table=_KEY)
_REASON = Field("reason", str, bound="exact", csv=True)

_STARTED = Field("started", str, role="cost")
_SECONDS = Field("seconds", NotNegative, role="cost")
_PEAK_MEMORY = Field("peak_memory", Whole | None, role="cost")

EVERY_ROW = (
    Field("schema", Literal[SCHEMA]),
    Field("environment", str, role="cost"),
    *(
        replace(field, default=None, csv=False, table=None)
        for field in (
            _CASE, _BATCH_SIZE, _BATCH, _CLAIM, _CONVENTION, _REFERENCE, _OPTIMIZER, _ENGINE, _DTYPE,
            _SEED, _DEVICE,
        )
    ),
)  # fmt: skip
"""What a row of any kind may say of itself."""

_MEASURED = (_DEVICE, _DTYPE, _STARTED, _SECONDS, _PEAK_MEMORY)
"""What every row that was measured says, besides its case."""

_CARD = (
    _derived("denominator", "card", "unit of the denominator"),
    *(_derived(name, "card") for name in ("formula", "family", "used_by", "source")),
)
"""What is known of the convention of a line."""

TRAINED = (
    Field("steps", Whole, bound="exact", csv=True),
    _largest("distance", "training", "apart", default=None),
    _largest("distance_unchanged", "training", "apart, unchanged", default=None),
    _largest("distance_best_constant", "training", "apart, best constant rate", default=None),
    _largest("distance_per_step", "training", "apart, a rate a step", default=None),
    Field("check_reason", str, "", csv=True),
)
"""What a training check found; learning rates show it beside what they promise."""

_BY_STEP = tuple(
    Field(f"{field.name}_by_step", list[NotNegative | None], None)
    for field in TRAINED
    if field.bound == "training"
)
"""The same distances after each step."""

RECORDED: dict[str, tuple[Field, ...]] = {
    # What rows were measured with; they name it. Older runs, and other machines, do not say all of it.
    "environment": (
        Field("gradsuite", str),
        Field("torch", str),
        _DEVICE,
        *(Field(name, str, None) for name in ("python", "opacus", "numpy", "pandas", "scikit-learn")),
        *(Field(name, str, None) for name in ("platform", "device_name", "cuda", "driver", "commit")),
        *(Field(name, str, None) for name in ("cudnn", "capability", "attention")),
        *(Field(name, bool, None) for name in ("dirty", "deterministic", "tf32", "reduced_sums")),
        Field("threads", int, None),
        _optional(_STARTED),
        Field("memory", AtLeastOne, None),
    ),
    # How far a convention is from a reference on a batch.
    "discrepancy": (
        _CASE,
        _BATCH_SIZE,
        _BATCH,
        _SAMPLES,
        Field("units", AtLeastOne, bound="exact", csv=True, table=Shown("key", after="params")),
        _CONVENTION,
        _REFERENCE,
        *_CARD,
        replace(_ENGINE, bound="exact", csv=True, table=Shown("key", after="reason")),
        replace(_DEVICE, csv=True, table=Shown("key", after="engine")),
        replace(_DTYPE, csv=True, table=Shown("key", after="device")),
        Field("scale", Finite | None, bound="scale", csv=True, table=Shown("scale", digits=4)),
        Field("scale_is", str, None, role="derived", csv=True),
        Field("cosine", Finite | None, bound="cosine", csv=True, table=Shown("smallest", digits=2)),
        _largest("relative_discrepancy", "norm", "relative"),
        Field(
            "residual", NotNegative | None, bound="norm", csv=True, table=Shown("direction", "direction", 2)
        ),
        _largest("max_abs", "entry", "largest difference"),
        _largest("rounding", "rounding"),
        _largest("rounding_bfloat16", "rounding", "rounding, bfloat16", default=None, rare=True),
        _largest("rounding_tf32", "rounding", "rounding, tf32", default=None, rare=True),
        Field("verdict", VerdictName, bound="exact", csv=True, table=Shown("worst", after="protocol_error")),
        _derived("cases", "cases"),
        _derived("batches", "batches"),
        Field("reason", str, csv=True, table=Shown("reason")),
        Field(
            "protocol_error",
            NotNegative,
            bound="loop",
            csv=True,
            table=Shown("largest", digits=2, after="rounding_tf32"),
        ),
        Field("refused", dict[str, str], csv=True),
        Field("params", AtLeastOne, bound="exact", csv=True, table=Shown("key", after="seed")),
        replace(_SEED, csv=True, table=Shown("key", after="dtype")),
        replace(_SECONDS, csv=True),
        _STARTED,
        _PEAK_MEMORY,
        Field("quantities", dict[str, Positive]),
        Field("magnification", NotNegative | None),
        Field("chunks", AtLeastOne, 1, role="cost"),
    ),
    # A convention that does not apply.
    "omitted": (_CASE, _optional(_BATCH_SIZE), _optional(_BATCH), _CONVENTION, _REASON, *_MEASURED),
    # How one convention is to another that is not the reference.
    "pair": (
        _CASE,
        _BATCH_SIZE,
        _BATCH,
        _SEED,
        _CONVENTION,
        _REFERENCE,
        Field("scale", Finite | None, bound="scale"),
        Field("residual", NotNegative | None, bound="norm"),
        Field("verdict", VerdictName, bound="exact"),
        *_MEASURED,
    ),
    # The noise of a batch's gradients.
    "noise": (
        _CASE,
        _BATCH_SIZE,
        _BATCH,
        _SEED,
        _SAMPLES,
        Field("trace", Finite | None, bound="noise"),
        Field("square", Finite | None, bound="noise"),
        *_MEASURED,
    ),
    # A training check: two conventions trained with equivalent hyperparameters.
    "training_check": (
        _CASE,
        _BATCH_SIZE,
        _SAMPLES,
        _SEED,
        _CONVENTION,
        _REFERENCE,
        _OPTIMIZER,
        *TRAINED,
        *_BY_STEP,
        *_MEASURED,
    ),
    # A claim put to the test.
    "claim": (
        _CASE,
        _CLAIM,
        Field("claimed", str, csv=True),
        Field("measured", str, csv=True),
        Field("verdict", str, bound="exact", csv=True),
        Field("note", str, None, csv=True),
        Field("numbers", dict[str, Any], bound="digits"),
        *_MEASURED,
    ),
    # What could not be measured, and why.
    "failure": (_CASE, _REASON, *_MEASURED),
    # The end of an item: the rows above it, since the last such row, are all of it.
    "done": (
        *(Field(name, str) for name in ("item", "work", "fingerprint", "digest")),
        *(Field(name, Whole) for name in ("index", "rows")),
    ),
}
"""The fields of each kind of row that a record holds, in the order in which they are shown."""

DERIVED: dict[str, tuple[Field, ...]] = {
    # What a learning rate, or another hyperparameter, is multiplied with: computed from discrepancies.
    "learning_rate": (
        _CASE,
        _BATCH_SIZE,
        _SAMPLES,
        Field("batches", AtLeastOne, csv=True),
        _CONVENTION,
        _REFERENCE,
        _OPTIMIZER,
        Field("hyperparameter", str, csv=True, table=_KEY),
        *_CARD,
        Field("factor", Finite, None, csv=True, table=Shown("factor", digits=4)),
        _derived("scale", "range", digits=4),
        Field("status", Status, csv=True, table=Shown("worst")),
        Field("scale_min", Finite, None, csv=True),
        Field("scale_max", Finite, None, csv=True),
        Field("scale_is", str, None, csv=True),
        Field("reason", str, csv=True, table=Shown("reason", after="distance_per_step")),
        *TRAINED,
    ),
}
"""The fields of rows that no record holds: a report derives them."""

TABLES: Mapping[str, str] = {
    "discrepancies": "discrepancy",
    "learning_rates": "learning_rate",
    "claims": "claim",
    "omitted": "omitted",
}
"""The tables and CSV files, and the kind of row that each is made of."""


@cache
def fields_of(kind: str) -> tuple[Field, ...]:
    """The fields of a kind of row, its own in the order of their declaration before what every row says."""
    own = (RECORDED | DERIVED)[kind]
    names = {field.name for field in own}
    return own if kind in DERIVED else own + tuple(f for f in EVERY_ROW if f.name not in names)


def recorded(kind: str) -> tuple[Field, ...]:
    """Those of its fields that a record holds."""
    return tuple(field for field in fields_of(kind) if field.role != "derived")


def names_with_role(role: Role) -> tuple[str, ...]:
    """The names of the fields that play this role in any kind of row."""
    return tuple(dict.fromkeys(f.name for kind in RECORDED for f in fields_of(kind) if f.role == role))


def csv_columns(table: str) -> tuple[str, ...]:
    """The columns of a CSV file, in their order."""
    return tuple(field.name for field in fields_of(TABLES[table]) if field.csv)


def table_columns(table: str) -> tuple[Field, ...]:
    """The fields that a table can show, in their order.

    Raises:
        LookupError: One stands behind a column that the table does not have.
    """
    shown = {field.name: field.table for field in fields_of(TABLES[table]) if field.table}
    order = [name for name, how in shown.items() if not how.after]
    moved = {name: how.after for name, how in shown.items() if how.after}
    while moved:
        name = next((name for name, after in moved.items() if after in order), None)
        if name is None:
            raise LookupError(f"table {table!r} has none of the columns {sorted(moved.values())}")
        order.insert(order.index(moved.pop(name)) + 1, name)
    known = {field.name: field for field in fields_of(TABLES[table])}
    return tuple(known[name] for name in order)
