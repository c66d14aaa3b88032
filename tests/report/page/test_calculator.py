"""The numbers behind the calculator are the suite's own."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from suite.algebra.columns import NEEDS, SIZES
from suite.conventions import conventions
from suite.equivalence import LAWS, Sizes, scale_between
from suite.errors import UsageError
from suite.report.page.calculator import _convention, _uneven, calculator

DATA = calculator()
BATCH = Sizes(24, 5, 4, 3, 7, 11)


def value(monomial: dict[str, Any]) -> Fraction:
    found = Fraction(*monomial["constant"])
    for size in SIZES:
        found *= Fraction(getattr(BATCH, size.name)) ** monomial["powers"].get(size.symbol, 0)
    return found


@pytest.mark.parametrize("pair", list(itertools.permutations(DATA["conventions"], 2)), ids=" ".join)
def test_powers_of_sizes_give_the_scale_and_the_penalty(pair: tuple[str, str]) -> None:
    old, new = (DATA["conventions"][name] for name in pair)
    expected = scale_between(*pair, BATCH)
    scale = value(new["unit"]) / value(old["unit"])
    assert scale == expected.scale
    assert scale * value(old["regulariser"]) / value(new["regulariser"]) == expected.penalty


def test_conventions_that_need_more_than_sizes_are_left_out() -> None:
    assert not [name for name in DATA["conventions"] if ":" in name]
    for convention in conventions.match(["*"]):
        try:
            scale_between(convention.name, "mean", BATCH)
        except UsageError:
            assert convention.name not in DATA["conventions"]
        else:
            assert convention.product is None or convention.name in DATA["conventions"]


def test_every_law_is_there_with_the_exponents_of_its_numbers() -> None:
    assert [law["name"] for law in DATA["laws"]] == LAWS.names
    for law in DATA["laws"]:
        for entry in law["hyperparameters"]:
            own = LAWS[law["name"]].hyperparameters[entry["name"]]
            assert (entry["default"], entry["exponent"]) == (own.default, own.exponent)
        changed = {name for name, own in LAWS[law["name"]].hyperparameters.items() if own.exponent}
        assert changed <= {entry["name"] for entry in law["hyperparameters"]}


def test_a_coefficient_that_is_no_product_of_sizes_is_left_out() -> None:
    own = replace(conventions["mean"], name="own", column=lambda units: units.column(1 / (units.n + 1)))
    assert _convention(own) is None


def test_a_convention_that_refuses_uneven_parts_has_no_weighing_of_them() -> None:
    def refuse(units: object) -> None:
        raise UsageError("the ranks must be even")

    assert _uneven(replace(conventions["mean"], column=refuse), NEEDS["ranks"].size) == ""
