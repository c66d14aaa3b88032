"""Scale, direction and the verdict."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from suite.algebra.discrepancy import Verdict, compare
from suite.algebra.gram import unit_norms
from suite.strategies import Example, examples

IDENTITY = np.eye(3)


def column(*values: float) -> np.ndarray:
    return np.array(values)


def test_equal_coefficients_are_identical() -> None:
    found = compare(IDENTITY, column(1, 2, 3), column(1, 2, 3))
    assert (found.verdict, found.scale, found.residual) == (Verdict.IDENTICAL, 1.0, 0.0)


def test_coefficients_that_differ_in_the_last_digit_are_rounding() -> None:
    a = column(1 / 3, 1 / 3, 1 / 3)
    b = np.nextafter(a, 1)
    assert compare(IDENTITY, a, b).verdict is Verdict.ROUNDING


@pytest.mark.parametrize("error", [1e-6, 1e-9, 1e-12])
def test_a_small_error_in_one_coefficient_is_direction_not_rounding(error: float) -> None:
    found = compare(IDENTITY, column(1 / 3 + error, 1 / 3, 1 / 3), column(1 / 3, 1 / 3, 1 / 3))
    assert found.verdict is Verdict.DIRECTION
    # √(2/3) of the error is orthogonal to the mean, whose norm is 1/√3.
    assert found.residual == pytest.approx(error * 2**0.5, rel=1e-3)


def test_a_multiple_is_scale_to_the_last_digit() -> None:
    found = compare(IDENTITY, column(1, 1, 1), column(1 / 3, 1 / 3, 1 / 3))
    assert (found.verdict, found.scale) == (Verdict.SCALE, 3.0)


def test_different_weights_are_direction_with_the_residual_of_pythagoras() -> None:
    found = compare(IDENTITY, column(1, 0, 0), column(1, 1, 0))
    assert found.verdict is Verdict.DIRECTION
    assert found.scale == pytest.approx(0.5)
    assert found.residual == pytest.approx(0.5**0.5)
    assert found.cosine == pytest.approx(0.5**0.5)


def test_units_with_the_same_gradient_may_exchange_weight() -> None:
    same = np.ones((3, 3))
    assert compare(same, column(3, 0, 0), column(1, 1, 1)).verdict is Verdict.ROUNDING
    assert compare(same, column(6, 0, 0), column(1, 1, 1)).verdict is Verdict.SCALE


def test_the_coefficient_of_a_unit_without_gradient_does_not_count() -> None:
    gram = np.diag([1.0, 1.0, 0.0])
    assert compare(gram, column(1, 1, 5), column(1, 1, 0)).verdict is Verdict.IDENTICAL


def test_zero_gradients_are_explained() -> None:
    nothing = np.zeros((3, 3))
    both = compare(nothing, column(1, 1, 1), column(1, 0, 0))
    assert (both.verdict, both.scale, both.reason) == (
        Verdict.IDENTICAL,
        None,
        "both gradients are zero",
    )
    one = compare(IDENTITY, column(0, 0, 0), column(1, 0, 0))
    assert (one.verdict, one.scale, one.residual) == (Verdict.DIRECTION, 0.0, 1.0)
    assert one.reason == "the convention's gradient is zero"
    other = compare(IDENTITY, column(1, 0, 0), column(0, 0, 0))
    assert (other.verdict, other.scale) == (Verdict.DIRECTION, None)
    assert other.reason == "the reference's gradient is zero"


@pytest.mark.parametrize("gram", [IDENTITY, np.ones((3, 3))])
@pytest.mark.parametrize("a", [(-2, -2, -2), (-1, -2, -3)])
def test_no_learning_rate_turns_a_gradient_round(gram: np.ndarray, a: tuple[int, ...]) -> None:
    found = compare(gram, column(*a), column(1, 1, 1))
    assert found.verdict is Verdict.DIRECTION
    assert found.scale == pytest.approx(-2.0, rel=1e-15)
    assert found.residual == 1.0  # the nearest that a learning rate comes is not to move
    assert found.cosine is not None
    assert found.cosine < 0


SMALL = st.floats(-6, -1).map(lambda power: 10.0**power)


@given(apart=SMALL)
def test_units_that_are_nearly_alike_are_not_taken_for_the_same(apart: float) -> None:
    # The root of float64's epsilon, 1.5e-8, is what a Gram matrix can see of them.
    rows = np.array([[1.0, 0.0], [1.0, apart]])
    found = compare(rows @ rows.T, column(1, 0), column(0, 1))
    assert found.verdict is Verdict.DIRECTION
    assert found.residual == pytest.approx(apart / np.hypot(1, apart), rel=1e-2)


@given(left=SMALL)
def test_gradients_that_nearly_cancel_are_not_taken_for_zero(left: float) -> None:
    rows = np.array([[1.0, 0.0], [-1.0, left]])
    found = compare(rows @ rows.T, column(1, 1), column(1, 0))
    assert (found.verdict, found.reason) == (Verdict.DIRECTION, "")
    assert found.relative == pytest.approx(np.hypot(1, left), rel=1e-6)


@given(seed=st.integers(0, 2**32 - 1), apart=st.floats(-17, -10), sign=st.sampled_from([1.0, -1.0]))
def test_what_a_gram_matrix_cannot_tell_apart_is_the_same_or_nothing(
    seed: int, apart: float, sign: float
) -> None:
    drawn = np.random.default_rng(seed).normal(size=(2, 7))
    rows = np.array([drawn[0], sign * drawn[0] * (1 + 10.0**apart * drawn[1])])
    gram = rows @ rows.T
    alone = compare(gram, column(1, 0), column(0, 1))
    assert (alone.verdict, alone.scale) == (Verdict.ROUNDING if sign > 0 else Verdict.DIRECTION, ONE_OF[sign])
    difference = column(1, -sign)
    assert compare(gram, difference, column(1, 0)).reason == "the convention's gradient is zero"
    assert compare(gram, column(1, 0), difference).reason == "the reference's gradient is zero"


ONE_OF = {sign: pytest.approx(sign, rel=1e-7) for sign in (1.0, -1.0)}

columns = st.lists(st.floats(-8, 8, width=16, allow_subnormal=False), min_size=24, max_size=24)


def nonzero(example: Example, *chosen: np.ndarray) -> bool:
    """Whether no reduced gradient cancels to nearly nothing."""
    norms = unit_norms(example.gram)
    return all(np.linalg.norm(c @ example.rows) > 1e-3 * (np.abs(c) @ norms) > 0 for c in chosen)


@given(example=examples(), first=columns, second=columns)
def test_what_the_gram_matrix_says_is_what_the_gradients_say(
    example: Example, first: list[float], second: list[float]
) -> None:
    a, b = (np.array(c)[: len(example.units)] for c in (first, second))
    assume(len(a) == len(example.units) and nonzero(example, a, b))
    found = compare(example.gram, a, b)
    x, y = a @ example.rows, b @ example.rows
    assert found.cosine == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y), abs=1e-9)
    assert found.relative == pytest.approx(np.linalg.norm(x - y) / np.linalg.norm(y), abs=1e-6)
    if found.verdict is Verdict.DIRECTION:
        scale = x @ y / (y @ y)
        assert found.scale == pytest.approx(scale, rel=1e-9, abs=1e-9)
        rest = x - max(scale, 0.0) * y
        assert found.residual == pytest.approx(np.linalg.norm(rest) / np.linalg.norm(x), rel=1e-6, abs=1e-6)


@given(example=examples(), first=columns, second=columns)
def test_what_no_learning_rate_removes_is_the_least_over_all_positive_ones(
    example: Example, first: list[float], second: list[float]
) -> None:
    a, b = (np.array(c)[: len(example.units)] for c in (first, second))
    assume(len(a) == len(example.units) and nonzero(example, a, b))
    found = compare(example.gram, a, b)
    x, y = a @ example.rows, b @ example.rows
    ratio = np.linalg.norm(x) / np.linalg.norm(y)
    rates = np.concatenate([[0.0], ratio * np.logspace(-3, 0, 50)])
    rest = np.linalg.norm(x[:, None] - np.outer(y, rates), axis=0) / np.linalg.norm(x)
    assert found.residual <= rest.min() + 1e-6
    assert (found.verdict is Verdict.DIRECTION) or found.scale > 0


@given(example=examples(), first=columns, second=columns)
def test_whether_a_learning_rate_repairs_it_is_symmetric(
    example: Example, first: list[float], second: list[float]
) -> None:
    a, b = (np.array(c)[: len(example.units)] for c in (first, second))
    assume(len(a) == len(example.units) and nonzero(example, a, b))
    forth, back = compare(example.gram, a, b), compare(example.gram, b, a)
    assert forth.verdict is back.verdict
    if forth.verdict is Verdict.SCALE:
        assert forth.scale == pytest.approx(1 / back.scale, rel=1e-9)


@given(example=examples(), values=columns, power=st.integers(-20, 20))
def test_rescaling_all_losses_by_a_power_of_two_changes_no_verdict(
    example: Example, values: list[float], power: int
) -> None:
    a = np.array(values)[: len(example.units)]
    assume(len(a) == len(example.units))
    b = np.ones(len(a))
    before = compare(example.gram, a, b)
    after = compare(example.gram * 4.0**power, a, b)
    assert (before.verdict, before.scale, before.residual) == (after.verdict, after.scale, after.residual)


@given(example=examples(), factor=st.floats(0.01, 100))
def test_a_multiple_is_never_direction(example: Example, factor: float) -> None:
    b = np.arange(1.0, len(example.units) + 1)
    assume(nonzero(example, b))
    found = compare(example.gram, factor * b, b)
    assert found.verdict is not Verdict.DIRECTION
    assert found.scale == pytest.approx(factor, rel=1e-12)
