"""A column of the units table is declared once, and everybody knows it or a test says who does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from suite.algebra.columns import DECLARED, NEEDS, NUMBER_SETTINGS, SIZES, UNIT_COLUMNS
from suite.algebra.symbols import LEGEND, SYMBOLS, in_legend
from tests.algebra.declared import full_table, lacking
from tests.trial import planted, told


@pytest.mark.parametrize("name", DECLARED)
def test_whoever_must_know_a_declared_column_does(name: str) -> None:
    assert list(lacking(DECLARED[name])) == []


def test_a_table_may_have_all_that_is_declared_and_nothing_else() -> None:
    table = full_table()
    assert [name for name in table.frame if name != "index"] == list(UNIT_COLUMNS)
    assert all(getattr(table, name) == 4 for name in NUMBER_SETTINGS)
    assert [need for need in NEEDS if table.missing((need,))] == ["copies"]


def test_symbols_need_what_is_declared() -> None:
    assert {symbol.needs for symbol in SYMBOLS.values()} <= {*DECLARED, "", "parts"}


def test_the_legend_says_what_is_in_it() -> None:
    named = [name for name in SYMBOLS if in_legend(name)]
    assert len(named) == LEGEND.count(",") + 3  # W and S are said with K and R
    assert all(f"{name} " in LEGEND or f" of {name}" in LEGEND for name in named)


MADE_UP = """
        Declaration(
            "heat", "unit", "number", "h_u", "heat of the unit",
            Need("heat", "nothing is heated", beyond="is heated, so its coefficients depend on the weather"),
        ),
        Declaration(
            "pressure", "table", "number", "p", "pressure",
            Need("pressure", "no pressure is stated",
                 Size("pressure", "--pressure", "p", "pressure", "of the air", whole=False)),
        ),
"""
TRIAL = """
import json
import numpy as np
from suite.algebra.columns import DECLARED
from suite.algebra.formula import Formula
from suite.algebra.quantities import Quantities
from suite.algebra.units import Units
from suite.cli.main import main
from suite.conventions import conventions
from suite.report.page.calculator import calculator
from suite.strategies import units
from dataclasses import replace
from tests.algebra.declared import lacking
from suite.equivalence.scales import Sizes, scale_between
from suite.errors import UsageError

table = Units.of(2, {"heat": [1.0, 3.0]}, pressure=5.0)
heated = replace(conventions["mean"], needs=("heat",))
pressed = conventions.add(replace(conventions["mean"], name="pressed", needs=("pressure",),
    column=lambda units: units.column(1 / units.require("pressure"))))
known = Quantities.of(table)


def error(function, *arguments):
    try:
        return function(*arguments)
    except UsageError as said:
        return str(said)


print(json.dumps({
    "lacks": {name: list(lacking(DECLARED[name])) for name in ("heat", "pressure")},
    "frame": table.frame["heat"].tolist(),
    "applies": [heated.missing(table), heated.missing(Units.of(2)), pressed.missing(table)],
    "formula": known.column(Formula.parse("h_u/p")).tolist(),
    "refused": [error(Units.of, 2, {"heat": [1.0, np.inf]}), error(lambda: Units.of(2, pressure=-1.0))],
    "scale": error(lambda: float(scale_between("mean", "pressed", Sizes(2, pressure=5.0)).scale)),
    "hint": error(scale_between, "mean", "pressed", Sizes(2)),
    "calculator": calculator()["conventions"]["pressed"]["unit"]["powers"],
    "asked": calculator()["sizes"][-1]["symbol"],
}))
"""


DECLARE = {"suite/algebra/columns.py": [('        Declaration("max_norm",', MADE_UP)]}
ADD = {
    "suite/algebra/units.py": [
        ("    data: NDArray", "    heat: Column | None = None\n    pressure: float | None = None\n"),
        ("        added_to_norm: what", "        heat: how hot.\n        pressure: p, of the air.\n"),
    ],
    "suite/strategies/tables.py": [
        ('    "rank": _GROUPS,\n', '    "heat": (0.0, 1.0),\n'),
        ('    "max_norm": (', '    "pressure": ((1.0,), lambda _, drawn: drawn),\n'),
    ],
    "suite/equivalence/scales.py": [("\n    def __post_init__", "    pressure: float | None = None\n")],
}  # fmt: skip


def test_a_column_that_is_only_declared_is_missed_by_name(tmp_path: Path) -> None:
    halves = {path: edits for path, edits in ADD.items() if path == "suite/algebra/units.py"}
    folder = planted(tmp_path, DECLARE | halves)
    code = (
        "from tests.algebra.declared import *\n"
        "print(*(line for name in ('heat', 'pressure') for line in lacking(DECLARED[name])), sep='\\n')"
    )
    assert told(folder, "-c", code).splitlines() == [
        "suite.strategies.tables neither draws heat nor says in NOT_DRAWN why not, or does both",
        "suite.strategies.tables neither draws pressure nor says in NOT_DRAWN why not, or does both",
        "suite.equivalence.scales.Sizes has no field pressure",
    ]


def test_a_column_that_is_made_up_is_known_to_all(tmp_path: Path) -> None:
    folder = planted(tmp_path, DECLARE | ADD)
    found = json.loads(told(folder, "-c", TRIAL))
    assert found == {
        "lacks": {"heat": [], "pressure": []},
        "frame": [1.0, 3.0],
        "applies": [None, "nothing is heated", None],
        "formula": [0.2, 0.6],
        "refused": [
            "units: column 'heat' must be finite",
            "units: pressure is -1.0: a finite number of at least 0.0 is needed",
        ],
        "scale": 0.4,
        "hint": "pressed does not apply: no pressure is stated; give --pressure",
        "calculator": {"p": -1},
        "asked": "p",
    }
    assert "--pressure P" in told(folder, "-m", "suite", "lr", "--help")


def test_every_size_is_an_option_and_a_field_of_its_own() -> None:
    for of in ("name", "option", "symbol", "metavar"):
        assert len({getattr(size, of) for size in SIZES}) == len(SIZES)
