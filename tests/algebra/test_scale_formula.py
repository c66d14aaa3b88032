"""Scales as formulas."""

from __future__ import annotations

import pytest

from suite.algebra.formula import Formula
from suite.algebra.scale_formula import own_formula, scale_formula


def test_one_batch_names_the_simplest_formula_and_more_batches_the_right_one() -> None:
    first = (4.0, {"n": 4, "K": 4})
    second = (2.0, {"n": 5, "K": 2})
    assert str(scale_formula([first])) == "n"
    assert str(scale_formula([first, second])) == "K"


@pytest.mark.parametrize(
    ("scale", "said"),
    [(32, "n"), (0.1, "1/d"), (3.2, "n/d"), (0.5, "1/2"), (16, "n/2"), (1 / 320, "1/(n·d)"), (1, "1")],
)
def test_scales_of_known_conventions_have_their_formula(scale: float, said: str) -> None:
    found = scale_formula([(scale, {"n": 32, "d": 10})])
    assert str(found) == said
    assert found.inverse.inverse == found
    assert found.value({"n": 32, "d": 10}) == pytest.approx(scale)


def test_a_scale_of_nothing_known_has_no_formula() -> None:
    assert scale_formula([(0.123456, {"n": 32})]) is None
    assert scale_formula([]) is None


def test_a_formula_is_fixed_unless_it_counts_tokens() -> None:
    assert scale_formula([(2.0, {"n": 2})]).fixed
    assert not scale_formula([(0.375, {"n": 3, "V": 8})]).fixed


def test_the_search_keeps_to_the_quantities_that_it_is_given() -> None:
    batch = (4.0, {"n": 8, "L": 4, "K": 4})
    assert str(scale_formula([batch])) == "L"
    assert str(scale_formula([batch], {"n", "K"})) == "K"


@pytest.mark.parametrize(
    ("convention", "reference", "said"),
    [
        ("1/L", "1/n", "n/L"),
        ("1/(W·V_k)", "1/(K·V_k)", "K/W"),
        ("1/(W·V_k)", "1/n", "K/W"),
        ("1/(S·V_r)", "1/(R·V_r)", "R/S"),
        ("w_u", "w_u/Σwm", "Σw"),
        ("1/V", "1/(n·V_i)", "1"),
    ],
)
def test_the_quotient_of_two_conventions_is_said_in_their_own_quantities(
    convention: str, reference: str, said: str
) -> None:
    """A ragged batch of 8 behind one of 16: R/2 would give n/L, K/W and R/S as well."""
    full = {"n": 16, "d": 1, "K": 4, "W": 4, "R": 2, "S": 2, "L": 16, "Σw": 9.0, "Σwm": 9.0}
    last = full | {"n": 8, "K": 2, "R": 1, "Σw": 5.0, "Σwm": 5.0}
    pair = Formula.parse(convention), Formula.parse(reference)
    batches = [(Formula.parse(said).value(known), known) for known in (full, last)]
    assert str(own_formula(*pair, batches)) == said


def test_elements_are_counted_as_the_batches_count_them() -> None:
    pair = Formula.parse("1/V"), Formula.parse("1/n")
    assert str(own_formula(*pair, [(0.1, {"n": 4, "d": 10})])) == "1/d"
    assert str(own_formula(*pair, [(0.5, {"n": 4, "V": 8, "T": 3})])) == "n/V"
    assert str(own_formula(*pair, [(0.5, {"n": 4, "Σm": 8}), (0.1, {"n": 2, "d": 10})])) == "n/Σm"


def test_a_quotient_that_is_not_measured_is_no_formula() -> None:
    pair = Formula.parse("1/V"), Formula.parse("1/n")
    assert own_formula(*pair, [(0.2, {"n": 4, "d": 10})]) is None
    assert own_formula(*pair, []) is None
