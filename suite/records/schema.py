"""What a record may hold: one type a kind of row, and how older rows become today's.

Validated by msgspec: of the well-kept libraries it is the one that has no dependencies of its own,
is imported in 30 ms, checks ten thousand rows in a quarter of a second, and says in one
line which field of a row is wrong. All that this version reads of a row is named here, and no number is
nan or infinite. Fields that are not named are kept and not checked, so that a row can say more than a
reader asks for.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Row = dict[str, Any]

SCHEMA = 2

Verdict = Literal["identical", "rounding", "scale", "direction"]
LARGEST = sys.float_info.max
Finite = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
Number = Finite | None
NotNegative = Annotated[float, Meta(ge=0.0, le=LARGEST)]
Size = NotNegative | None
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Count = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Above = Annotated[float, Meta(gt=0.0, le=LARGEST)]


class Common(msgspec.Struct, tag_field="kind", kw_only=True):
    """Every row."""

    schema: Literal[2]
    environment: str
    # A row is told from others by these, whatever its kind.
    case: str | None = None
    batch_size: Count | None = None
    batch: str | None = None
    claim: str | None = None
    convention: str | None = None
    reference: str | None = None
    optimizer: str | None = None
    engine: str | None = None
    dtype: str | None = None
    device: str | None = None
    seed: Whole | None = None


class Environment(Common, tag="environment"):
    """What rows were measured with; they name it. Older runs, and other machines, do not say all of it."""

    gradsuite: str
    torch: str
    device: str
    python: str | None = None
    opacus: str | None = None
    numpy: str | None = None
    device_name: str | None = None
    driver: str | None = None
    threads: int | None = None
    deterministic: bool | None = None
    tf32: bool | None = None
    commit: str | None = None
    dirty: bool | None = None
    started: str | None = None
    memory: Count | None = None


class Measured(Common):
    """Every row that was measured: of which case, and what it cost."""

    case: str
    started: str
    seconds: NotNegative
    peak_memory: Whole | None
    device: str
    dtype: str


class OfBatch(Measured):
    """What was measured on one batch."""

    batch_size: Count
    batch: str
    seed: Whole


class Discrepancy(OfBatch, tag="discrepancy"):
    """How far a convention is from a reference on a batch."""

    samples: Count
    units: Count
    params: Count
    engine: str
    refused: dict[str, str]
    quantities: dict[str, Above]
    convention: str
    reference: str
    scale: Number
    cosine: Number
    relative_discrepancy: Size
    residual: Size
    max_abs: Size
    rounding: Size
    verdict: Verdict
    reason: str
    protocol_error: NotNegative
    magnification: Size
    rounding_bfloat16: Size = None
    rounding_tf32: Size = None
    chunks: Count = 1

    def __post_init__(self) -> None:
        _require_residual(self)


def _require_residual(row: Discrepancy | Pair) -> None:
    """Of another direction is what leaves something over, of which it is known how much."""
    if row.verdict == "direction" and row.residual is None:
        raise ValueError("Expected a number with the verdict 'direction', got `null` at `residual`")


class Omitted(Measured, tag="omitted"):
    """A convention that does not apply."""

    convention: str
    reason: str


class Pair(OfBatch, tag="pair"):
    """How one convention is to another that is not the reference."""

    convention: str
    reference: str
    scale: Number
    residual: Size
    verdict: Verdict

    def __post_init__(self) -> None:
        _require_residual(self)


class Noise(OfBatch, tag="noise"):
    """The noise of a batch's gradients."""

    samples: Count
    trace: Number
    square: Number


class Proof(Measured, tag="proof"):
    """Two conventions trained with equivalent hyperparameters."""

    batch_size: Count
    samples: Count
    seed: Whole
    convention: str
    reference: str
    optimizer: str
    steps: Whole
    proof_reason: str = ""
    distance: Size = None
    distance_unchanged: Size = None
    distance_best_constant: Size = None
    distance_per_step: Size = None
    distance_by_step: list[Size] | None = None
    distance_unchanged_by_step: list[Size] | None = None
    distance_best_constant_by_step: list[Size] | None = None
    distance_per_step_by_step: list[Size] | None = None


class Claim(Measured, tag="claim"):
    """A claim of a thread, put to the test."""

    claim: str
    claimed: str
    measured: str
    verdict: str
    numbers: dict[str, Any]
    note: str | None = None


class Failure(Measured, tag="failure"):
    """What could not be measured, and why."""

    reason: str


class Done(Common, tag="done"):
    """The end of an item: the rows above it, since the last such row, are all of it."""

    item: str
    work: str
    fingerprint: str
    index: Whole
    rows: Whole
    digest: str


AnyRow = Environment | Discrepancy | Omitted | Pair | Noise | Proof | Claim | Failure | Done


def check(row: Row) -> str | None:
    """What is wrong with a row of today's schema; None where nothing is."""
    try:
        msgspec.convert(row, AnyRow)
    except msgspec.ValidationError as error:
        return (
            str(error)
            .replace(" - at `$.", " at `")
            .replace(" - at `$`", "")
            .replace(" - at `key", " at `key")
        )
    return None


def migrate(row: Row, environment: Row) -> Row:
    """A row of schema 1 as one of today's.

    Args:
        row: the row.
        environment: the first row of its file, which says what it was measured with.
    """
    new = {**row, "schema": SCHEMA, "environment": name_of(environment)}
    if row.get("kind") == "environment":
        commit = row.get("commit")
        return new | {"dirty": None if commit is None else str(commit).endswith("-dirty")}
    cost = {"started": environment.get("started", ""), "seconds": 0.0, "peak_memory": None}
    known = {key: environment.get(key) for key in ("device", "dtype", "seed")}
    more = {"magnification": None} if row.get("kind") == "discrepancy" else {}
    return {**cost, **known, **more, **new}


def name_of(environment: Mapping[str, Any]) -> str:
    """The name of an environment: the digest of all that it says but when it was."""
    said = {k: v for k, v in environment.items() if k not in ("schema", "kind", "environment", "started")}
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:16]
