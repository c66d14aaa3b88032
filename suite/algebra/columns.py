"""What a units table may hold, each declared once: what it is, and what everybody else calls it.

A column has one value a unit, a setting one value a table. The table checks itself by what is declared here;
conventions `need` it, `gradsuite lr` and the calculator of a report ask for its size, formulas have its
symbol, and `suite.strategies.tables` draws it by its name.

A new one is a field of `suite.algebra.units.Units` and an entry of `DECLARED`;
`tests/algebra/test_columns.py` says what else is missing.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

COUNTABLE = 2**40
"""A float counts further, products of two such numbers it does not."""


@dataclass(frozen=True)
class Size:
    """What is asked of a person about a batch whose samples and groups are all alike.

    Args:
        name: the field of `suite.equivalence.scales.Sizes`.
        option: of `gradsuite lr`.
        symbol: in the calculator of a report, and in capitals behind the option.
        label: behind the symbol in the calculator.
        help: one line.
        whole: whether it is a whole number.
        default: where nobody says it; None where it is not known then.
        shown: what the calculator begins with.
        groups: whether it counts the groups that samples are in, of which a convention needs two or more.
    """

    name: str
    option: str
    symbol: str
    label: str
    help: str
    whole: bool = True
    default: int | None = None
    shown: str = ""
    groups: bool = False

    @property
    def metavar(self) -> str:
        """What stands for the number in the help of the option."""
        return self.symbol.upper()


@dataclass(frozen=True)
class Need:
    """What a convention can ask of a table.

    Args:
        name: in the `needs` of conventions.
        missing: why a convention that needs it does not apply to a table without.
        size: what a person is asked in its place, or None where no size of a batch tells it.
        beyond: why none does, behind the name of the convention; empty where one does.
    """

    name: str
    missing: str
    size: Size | None = None
    beyond: str = ""


@dataclass(frozen=True)
class Declaration:
    """One column or setting of the units table.

    Args:
        name: the field of `suite.algebra.units.Units`.
        by: whether it has a value for each `unit`, or one for the `table`; a `term` is a column that
            `Units.of` takes as one value a part.
        holds: an `index` of a group (−1 for the regulariser's unit), a `count` that may be zero, a `whole`
            number of at least 1, or a `number`: any for a column, none below zero for a setting.
        symbol: the one that formulas have for it or for what it counts, a key of
            `suite.algebra.symbols.SYMBOLS`; empty where none is worth naming.
        meaning: of the symbol, where that stands for the value as it is, to be read after "the".
        need: what a convention that looks at it asks for; None where every table has it.
    """

    name: str
    by: Literal["unit", "term", "table"]
    holds: Literal["index", "count", "whole", "number"]
    symbol: str = ""
    meaning: str = ""
    need: Need | None = None

    @property
    def column(self) -> bool:
        """Whether it has one value a unit."""
        return self.by != "table"

    @property
    def least(self) -> float:
        """How small a value may be."""
        return {"whole": 1, "count": 0}.get(self.holds, -sys.float_info.max if self.column else 0.0)

    @property
    def most(self) -> float:
        """How large a value may be."""
        return COUNTABLE if self.holds in ("whole", "count") else sys.float_info.max


SAMPLES = Size("samples", "--batch-size", "n", "samples", "samples in a batch", shown="32")
"""What every batch has, and no column says."""

_MICROBATCHES = Need(
    "microbatches",
    "there is no accumulation: the window is one micro-batch",
    Size(
        "microbatches", "--micro-batches", "K", "micro-batches", "micro-batches before each step",
        default=1, shown="1", groups=True,
    ),
)  # fmt: skip
_RANKS = Need(
    "ranks",
    "there is one rank only",
    Size("ranks", "--ranks", "R", "ranks", "data-parallel workers", default=1, shown="1", groups=True),
)
_CLIPPING = Need(
    "max_norm",
    "no clip threshold is stated",
    beyond="clips, so its coefficients depend on the gradients; take the convention that it clips, and give "
    "the threshold by --max-norm",
)

DECLARED: Mapping[str, Declaration] = {
    declaration.name: declaration
    for declaration in (
        Declaration("sample", "unit", "index", "n"),
        Declaration("part", "unit", "index", "P"),
        Declaration("elements", "unit", "count", "m_u"),
        Declaration(
            "positions", "unit", "count", "T",
            need=Need(
                "positions",
                "there is no padding and no ignored target",
                Size("elements", "--elements", "m", "elements", "outputs or tokens a sample"),
            ),
        ),
        Declaration(
            "weight", "unit", "number", "w_u", "weight of the unit",
            Need(
                "weight",
                "there are no sample or class weights",
                beyond="has weights, so its coefficients depend on which samples are in the batch",
            ),
        ),
        Declaration("microbatch", "unit", "index", "K", need=_MICROBATCHES),
        Declaration("rank", "unit", "index", "R", need=_RANKS),
        Declaration(
            "term_weight", "term", "number", "λ_t", "weight of the loss term",
            Need(
                "term_weight",
                "the loss terms have no weights",
                beyond="weighs loss terms, so its coefficients depend on the loss",
            ),
        ),
        Declaration("window", "table", "whole", "W", "micro-batches of a full window", _MICROBATCHES),
        Declaration("world_size", "table", "whole", "S", "ranks that training began with", _RANKS),
        Declaration(
            "expected_batch_size", "table", "number", "L", "expected batch size",
            Need(
                "expected_batch_size",
                "no expected batch size is stated",
                Size(
                    "expected_batch_size", "--expected-batch-size", "L", "expected batch",
                    "batch size that Poisson sampling aims at", whole=False,
                ),
            ),
        ),
        Declaration(
            "max_elements", "table", "whole", "Lmax", "longest length allowed",
            Need(
                "max_elements",
                "no maximal length L_max is stated",
                Size("max_elements", "--max-elements", "Lmax", "longest", "longest sequence allowed"),
            ),
        ),
        Declaration(
            "moving_average", "table", "number",
            need=Need(
                "moving_average",
                "no moving average of the denominators before is stated",
                beyond="divides by a moving average of the batches before, so its scale moves with each step",
            ),
        ),
        Declaration("max_norm", "table", "number", "min(1, C/‖g‖)", need=_CLIPPING),
        Declaration("added_to_norm", "table", "number", "min(1, C/‖g‖)", need=_CLIPPING),
        Declaration("values", "table", "whole"),
    )
}  # fmt: skip
"""By name: first the columns, in the order in which a table shows them, then the settings."""

UNIT_COLUMNS = tuple(name for name, declaration in DECLARED.items() if declaration.column)
NUMBER_SETTINGS = tuple(name for name, declaration in DECLARED.items() if not declaration.column)
"""The settings that are numbers; what else a table says is how its units are made up."""

_MADE_UP = (
    Need("terms", "the loss has one term only",
         beyond="adds loss terms, so its coefficients depend on the loss"),
    Need("copies", "there are no augmented copies",
         beyond="adds augmented copies, so its coefficients depend on the data"),
    Need("regulariser", "there is no regulariser",
         beyond="has a regulariser that is scaled unlike the data"),
)  # fmt: skip
"""What a convention can ask of the units themselves."""

NEEDS: Mapping[str, Need] = {
    need.name: need
    for need in (*(declaration.need for declaration in DECLARED.values()), *_MADE_UP)
    if need is not None
}
"""By the name that conventions have for it."""

SIZES: tuple[Size, ...] = (
    SAMPLES,
    *(need.size for need in NEEDS.values() if need.size is not None),
)
"""What `gradsuite lr` and the calculator ask for, in this order."""
