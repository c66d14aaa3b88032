"""What a declared column or setting of the units table lacks, in the words of whoever is to add it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import numpy as np

from suite.algebra.columns import DECLARED, NUMBER_SETTINGS, Declaration
from suite.algebra.quantities import Quantities
from suite.algebra.symbols import SYMBOLS
from suite.algebra.units import Units
from suite.equivalence.scales import Sizes
from suite.strategies.tables import DRAWN_COLUMNS, DRAWN_NUMBERS, DRAWN_TERMS, NOT_DRAWN

DRAWN = {**DRAWN_COLUMNS, **DRAWN_TERMS, **DRAWN_NUMBERS}


def full_table() -> Units:
    """A table that has every column and setting that is declared, of two samples with two parts."""
    columns = {
        name: [0, 1] if it.holds == "index" else [2, 3]
        for name, it in DECLARED.items()
        if it.column and name not in ("sample", "part")
    }
    numbers = {name: 4 if DECLARED[name].holds == "whole" else 4.0 for name in NUMBER_SETTINGS}
    return Units.of(2, columns, parts=("a", "b"), regulariser=True, **numbers)


def lacking(it: Declaration) -> Iterator[str]:
    """A line for each half that is missing."""
    if it.name not in {field.name for field in fields(Units)}:
        yield f"suite.algebra.units.Units has no field {it.name}"
    elif f"        {it.name}: " not in (Units.__doc__ or ""):
        yield f"the docstring of suite.algebra.units.Units does not say what {it.name} is"
    if (it.name in DRAWN) == (it.name in NOT_DRAWN):
        yield f"suite.strategies.tables neither draws {it.name} nor says in NOT_DRAWN why not, or does both"
    if it.symbol and it.symbol not in SYMBOLS:
        yield f"suite.algebra.symbols has no symbol {it.symbol}: say its meaning where {it.name} is declared"
    elif it.symbol:
        known = Quantities.of(full_table(), gram=np.eye(5))
        if it.symbol not in {*known.numbers, *known.columns} and not it.symbol.startswith("min(1, C/‖g"):
            yield f"suite.algebra.quantities does not know what {it.symbol} is worth"
    if it.need is not None:
        if (it.need.size is None) == (it.need.beyond == ""):
            yield f"the need {it.need.name} has a size that people are asked, or says why none tells it"
        if it.need.size is not None and it.need.size.name not in {field.name for field in fields(Sizes)}:
            yield f"suite.equivalence.scales.Sizes has no field {it.need.size.name}"
