"""Clip thresholds in a row are sums over few units, and nothing is lost by that."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.engines.basis import basis
from suite.engines.sweep import hats


def clipped(norms: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return np.minimum(1, thresholds[:, None] / norms) / len(norms)


@given(st.integers(3, 70), st.integers(3, 9), st.integers(0, 3), st.booleans(), st.integers(0, 10_000))
def test_thresholds_with_anything_beside_them_are_given_back_by_a_good_basis(
    units, count, others, mean, seed
) -> None:
    draw = np.random.default_rng(seed)
    norms = np.exp(draw.normal(size=units)) if seed % 3 else draw.choice([0.5, 1.0, 2.0, 4.0], units)
    thresholds = np.exp(draw.normal(size=count)) if seed % 2 else np.quantile(norms, draw.random(count))
    rows = [clipped(norms, thresholds), draw.normal(size=(others, units))]
    rows += [np.full((1, units), 1 / units)] if mean else []
    given_rows = draw.permutation(np.concatenate(rows)) * draw.choice([1e-3, 1.0, 10.0])
    found = basis(given_rows, local=True)
    np.testing.assert_allclose(np.linalg.norm(found.rows, axis=1), 1)
    assert np.linalg.svd(found.rows, compute_uv=False)[-1] > 0.02  # rounding is magnified no further
    sizes = np.linalg.norm(given_rows, axis=1, keepdims=True)
    assert (np.abs(found.weights @ found.rows - given_rows) <= 1e-13 * sizes).all()
    assert len(found.rows) == len(basis(given_rows).rows)


@pytest.mark.parametrize("count", [3, 8, 20])
def test_each_unit_takes_part_in_two_however_many_thresholds_there_are(count: int) -> None:
    norms = np.linspace(1, 2, 400)
    rows = clipped(norms, np.linspace(1.1, 1.9, count))
    made, members = hats(rows)
    assert members == list(range(count))
    # Two at the first and last thresholds' own ends, where one hat alone is not zero.
    assert (np.count_nonzero(made, axis=0) <= 2).all()
    assert np.count_nonzero(made) <= 2 * 400


def test_the_mean_is_a_threshold_and_what_is_none_is_left_alone() -> None:
    norms = np.linspace(1, 2, 100)
    draw = np.random.default_rng(0)
    rows = np.concatenate([
        draw.normal(size=(1, 100)), np.full((1, 100), 0.01), clipped(norms, np.array([1.2, 1.5, 1.8]))
    ])  # fmt: skip
    _, members = hats(rows)
    assert sorted(members) == [1, 2, 3, 4]
    found = basis(rows, local=True)
    assert sorted(np.count_nonzero(found.rows, axis=1)) == [20, 50, 50, 60, 100]


def test_there_are_none_of_rows_without_order_nor_of_two() -> None:
    draw = np.random.default_rng(0)
    assert hats(draw.normal(size=(5, 20))) is None
    assert hats(clipped(np.arange(1.0, 9.0), np.array([2.0, 5.0]))) is None


def test_thresholds_that_are_nearly_one_keep_the_digits_of_their_difference() -> None:
    norms = np.linspace(1, 2, 50)
    rows = clipped(norms, np.array([1.2, 1.5, 1.5 + 1e-7, 1.8]))
    found = basis(rows, local=True)
    difference = (found.weights[2] - found.weights[1]) @ found.rows
    np.testing.assert_allclose(difference, rows[2] - rows[1], atol=1e-16)
