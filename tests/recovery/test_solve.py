"""The solution of `Gᵀc = g`, on matrices whose difficulty is chosen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from suite.recovery import solve as solving
from suite.recovery.solve import groups, roots, solve, together

EPS = 2.0**-52


def with_condition(units: int, params: int, condition: float, seed: int) -> np.ndarray:
    """`[params, units]` a matrix with this σ_max/σ_min."""
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.standard_normal((params, units)))[0]
    right = np.linalg.qr(rng.standard_normal((units, units)))[0]
    return left * np.geomspace(1, 1 / condition, units) @ right


@given(st.integers(2, 12), st.floats(0, 7), st.integers(0, 2**16))
def test_the_bound_holds_at_any_condition(units: int, power: float, seed: int) -> None:
    matrix = with_condition(units, 40, 10**power, seed)
    wanted = np.random.default_rng(seed).standard_normal(units)
    found = solve(matrix, matrix @ wanted, 16 * EPS)
    assert found.identifiable.all()
    assert (np.abs(found.weights - wanted) <= found.error).all()


def test_an_ill_conditioned_batch_keeps_the_digits_that_the_gram_matrix_would_lose() -> None:
    matrix = with_condition(8, 50, 1e6, 0)
    wanted = np.arange(1.0, 9.0)
    found = solve(matrix, matrix @ wanted, 16 * EPS)
    by_gram = np.linalg.solve(matrix.T @ matrix, matrix.T @ (matrix @ wanted))
    assert np.abs(found.weights - wanted).max() < 1e-8
    assert np.abs(by_gram - wanted).max() > 1e-6


def test_the_lengths_of_gradients_do_not_matter() -> None:
    matrix = with_condition(5, 20, 10, 0)
    lengths = 10.0 ** np.array([0, -6, 6, -3, 3])
    wanted = np.arange(1.0, 6.0) / lengths
    found = solve(matrix * lengths, matrix @ np.arange(1.0, 6.0), 16 * EPS)
    np.testing.assert_allclose(found.weights, wanted, rtol=1e-12)
    assert found.condition < 100


def test_a_residual_is_what_no_weights_explain() -> None:
    matrix = np.eye(4)[:, :2]
    found = solve(matrix, np.array([3.0, 4.0, 0.0, 2.0]), 16 * EPS)
    assert found.residual == pytest.approx(2.0)
    assert found.size == pytest.approx(29**0.5)
    np.testing.assert_allclose(found.weights, [3, 4])


@given(st.integers(0, 2**16), st.integers(1, 3))
def test_a_dependent_unit_takes_only_those_with_it_that_it_depends_on(seed: int, others: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((20, 6))
    matrix[:, 5] = matrix[:, :others] @ rng.uniform(0.5, 2, others)
    found = solve(matrix, matrix @ np.ones(6), 16 * EPS)
    assert found.identifiable.tolist() == [u >= others and u != 5 for u in range(6)]
    np.testing.assert_allclose(found.weights[found.identifiable], 1, rtol=1e-10)


def test_a_group_inside_a_larger_dependence_has_no_total() -> None:
    # 0 and 1 are the same, and 2 is their opposite: nothing but c0 + c1 − c2 is known.
    column = np.arange(1.0, 5.0)
    matrix = np.stack([column, column, -column, np.eye(4)[0]], axis=1)
    (group,) = groups(matrix, solve(matrix, matrix @ np.array([1.0, 2, 4, 8]), 16 * EPS), 16 * EPS)
    assert group.units == (0, 1, 2)
    assert group.ratios == pytest.approx((1, 1, -1))
    assert group.total == pytest.approx(-1)
    # In a plane three directions depend on each other, and the pair among them has no sum of its own.
    plane = np.array([[1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    (group,) = groups(plane, solve(plane, plane @ np.ones(4), 16 * EPS), 16 * EPS)
    assert (group.units, group.total, group.error) == ((0, 1), None, None)


@given(st.integers(1, 9), st.integers(1, 400), st.integers(1, 64), st.integers(0, 2**16))
def test_a_root_streamed_in_pieces_has_all_inner_products(units, params, chunk, seed) -> None:
    rows = torch.randn(units, params, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    side = torch.arange(params, dtype=torch.float64)
    first = params // 2
    before = solving.CHUNK
    try:
        solving.CHUNK = chunk
        parts = roots({"a": rows[:, :first], "b": rows[:, first:]}, [{"a": side[:first], "b": side[first:]}])
    finally:
        solving.CHUNK = before
    whole = together(parts)
    columns = torch.cat([rows, side[None]]).numpy()
    np.testing.assert_allclose(whole.r.T @ whole.r, columns @ columns.T, rtol=1e-11, atol=1e-9)
    assert all(max(part.r.shape) <= 16 * (units + 1) for part in parts.values())
    assert len(whole.r) <= units + 1


def test_only_the_entries_to_keep_are_looked_at() -> None:
    rows, keep = torch.eye(3, dtype=torch.float64)[:2], torch.tensor([True, False, True])
    part = roots({"a": rows}, [{"a": torch.ones(3)}], {"a": keep})["a"]
    np.testing.assert_allclose(part.gram, [[1, 0], [0, 0]], atol=1e-15)
