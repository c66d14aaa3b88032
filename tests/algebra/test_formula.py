"""Scales as formulas."""

from __future__ import annotations

import pytest

from suite.algebra.formula import formula, quantities
from suite.algebra.units import Units


def test_one_batch_names_the_simplest_formula_and_more_batches_the_right_one() -> None:
    first = (4.0, {"n": 4, "K": 4})
    second = (2.0, {"n": 5, "K": 2})
    assert str(formula([first])) == "n"
    assert str(formula([first, second])) == "K"


@pytest.mark.parametrize(
    ("scale", "said"),
    [(32, "n"), (0.1, "1/d"), (3.2, "n/d"), (0.5, "1/2"), (16, "n/2"), (1 / 320, "1/(n·d)"), (1, "1")],
)
def test_scales_of_known_conventions_have_their_formula(scale: float, said: str) -> None:
    found = formula([(scale, {"n": 32, "d": 10})])
    assert str(found) == said
    assert found.inverse.inverse == found
    assert found.value({"n": 32, "d": 10, "2": 2}) == pytest.approx(scale)


def test_a_scale_of_nothing_known_has_no_formula() -> None:
    assert formula([(0.123456, {"n": 32})]) is None
    assert formula([]) is None


def test_a_formula_is_fixed_unless_it_counts_tokens() -> None:
    assert formula([(2.0, {"n": 2})]).fixed
    assert not formula([(0.375, {"n": 3, "V": 8})]).fixed


def test_quantities_are_those_of_the_table() -> None:
    units = Units.of(
        4,
        {"elements": [1, 2, 3, 4], "positions": 6, "microbatch": [0, 0, 0, 1]},
        window=4,
        max_elements=9,
        expected_batch_size=8.0,
    )
    assert quantities(units) == {"n": 4, "V": 10, "T": 6, "Lmax": 9, "K": 2, "W": 4, "L": 8}
    assert quantities(Units.of(2, {"elements": 7}))["d"] == 7


def test_parts_are_a_quantity() -> None:
    assert quantities(Units.of(2, {"elements": [[1, 2]]}, parts=("a", "b")))["P"] == 2


def test_uneven_samples_have_no_number_of_elements_in_common() -> None:
    assert "d" not in quantities(Units.of(2, {"elements": [1, 2]}))
