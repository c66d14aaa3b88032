"""The row space of coefficients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.engines.basis import basis


@pytest.mark.parametrize("how", [{}, {"turned": True}], ids=["as is", "turned"])
@given(st.integers(1, 8), st.integers(1, 9), st.integers(0, 4), st.integers(0, 1000))
def test_rows_are_independent_and_give_the_coefficients_back(how, count, units, groups, seed) -> None:
    draw = np.random.default_rng(seed)
    given_rows = draw.normal(size=(count, units)) * draw.choice([0.0, 1e-6, 1.0, 1e3], (count, 1))
    if groups:
        given_rows = given_rows[:, draw.integers(0, groups, units) % units]
    found = basis(given_rows, **how)
    assert len(found.rows) <= min(count, units)
    np.testing.assert_allclose(np.linalg.norm(found.rows, axis=1), 1)
    if len(found.rows):
        assert np.linalg.svd(found.rows, compute_uv=False)[-1] > 0.02  # rounding is magnified no further
    sizes = np.linalg.norm(given_rows, axis=1, keepdims=True)
    assert (np.abs(found.weights @ found.rows - given_rows) <= 1e-13 * sizes).all()


def test_multiples_take_one_reduction_and_zeros_take_none() -> None:
    one = np.ones(6)
    assert len(basis([one, one / 6, one / 7, 0 * one]).rows) == 1
    assert len(basis([0 * one]).rows) == 0


def test_rows_leave_out_groups_of_units_that_are_alike() -> None:
    rows = np.array([[1, 1, 2, 2, 3, 3], [1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0], [5, 4, 3, 2, 1, 0.5]])
    found = basis(rows, turned=True)
    assert len(found.rows) == 4
    assert sorted(np.count_nonzero(found.rows, axis=1)) == [2, 2, 4, 6]


def test_groups_that_are_multiples_of_each_other_are_left_out_together() -> None:
    rows = np.array([[1, 1, 2, 2, 1, 1, 0], [1, 1, 2, 2, -1, 0, 3]])  # the second pair is twice the first
    found = basis(rows, turned=True)
    assert sorted(np.count_nonzero(found.rows, axis=1)) == [3, 6]
    np.testing.assert_allclose(found.weights @ found.rows, rows, rtol=0, atol=1e-14)


def test_a_clipped_mean_beside_the_mean_is_reduced_over_the_clipped_alone() -> None:
    clipped = np.array([1, 1, 1, 1, 1, 0.5, 0.3])
    found = basis([np.ones(7), clipped], turned=True)
    assert sorted(np.count_nonzero(found.rows, axis=1)) == [2, 7]


@pytest.mark.parametrize("turned", [False, True])
def test_the_difference_of_nearly_equal_conventions_keeps_its_digits(turned) -> None:
    a = np.ones(4)
    b = a + np.array([1e-7, 0, 0, 0])
    found = basis([a, b], turned=turned)
    difference = (found.weights[1] - found.weights[0]) @ found.rows
    np.testing.assert_allclose(difference, b - a, atol=1e-15)
