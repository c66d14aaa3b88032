"""Scales as formulas."""

from __future__ import annotations

import pytest

from suite.algebra.scale_formula import scale_formula


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
