"""What is declared of a field of a row: its type, how `diff` bounds it, and where it is shown."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

LARGEST_FLOAT = sys.float_info.max
Finite = Annotated[float, Meta(ge=-LARGEST_FLOAT, le=LARGEST_FLOAT)]
NotNegative = Annotated[float, Meta(ge=0.0, le=LARGEST_FLOAT)]
Positive = Annotated[float, Meta(gt=0.0, le=LARGEST_FLOAT)]
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
AtLeastOne = Annotated[int, Meta(ge=1, le=2**63 - 1)]
VerdictName = Literal["identical", "rounding", "scale", "direction"]
Status = Literal["exact", "varies", "impossible"]

Role = Literal["identity", "result", "cost", "derived"]
Bound = Literal[
    "exact", "scale", "cosine", "norm", "entry", "loop", "rounding", "noise", "training", "digits"
]  # fmt: skip
Summary = Literal[
    "key", "largest", "smallest", "worst", "scale", "range", "factor", "direction", "reason", "card", "cases",
    "batches",
]  # fmt: skip

NO_DEFAULT: Any = object()
"""The default of a field that every row of its kind has."""


@dataclass(frozen=True)
class Shown:
    """How a table shows a field, on a line that several rows may share.

    Args:
        summary: what is shown of those rows: `key` where rows that differ in it are on lines of their own;
            each is a function of `suite.report.summaries`.
        header: above the column; the field's name in words where it is empty.
        digits: significant ones; 0 for text and for numbers that are exact.
        after: the column that this one stands behind; the others are in the order of their declaration.
    """

    summary: Summary
    header: str = ""
    digits: int = 0
    after: str = ""


@dataclass(frozen=True)
class Field:
    """One field of the rows of a kind.

    Args:
        name: its key in the record, in a CSV file, and as people type it after `table --columns`.
        type: what msgspec accepts.
        default: what a row that does not have it means; `NO_DEFAULT` where each must.
        role: `identity` tells the rows of a run apart, `cost` differs between runs that agree, and
            `derived` is no part of the record: a report computes it.
        bound: how far rounding can move it between two runs, a name of `suite.records.bounds.BOUNDS`, or
            `exact` where nothing may move it; None where it is not compared.
        csv: whether the CSV file of its kind has a column of it.
        table: how the table of its kind shows it; None where it does not.
        rare: whether only some devices measure it: others have no column of it, and no difference.
    """

    name: str
    type: Any
    default: Any = NO_DEFAULT
    role: Role = "result"
    bound: Bound | None = None
    csv: bool = False
    table: Shown | None = None
    rare: bool = False

    def __post_init__(self) -> None:
        if self.default is None:
            object.__setattr__(self, "type", self.type | None)
