"""The algebra of the Gram matrix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from suite.algebra.gram import cancellation, clip_factor, inner, norm, unit_norms
from suite.strategies import Example, examples


@given(example=examples())
def test_norms_and_products_are_those_of_the_reduced_gradients(example: Example) -> None:
    a, b = np.ones(len(example.units)), np.arange(1.0, len(example.units) + 1)
    x, y = a @ example.rows, b @ example.rows
    whole = np.linalg.norm(example.rows, axis=1).sum() ** 2 * len(a)
    assert inner(example.gram, a, b) == pytest.approx(x @ y, abs=1e-12 * whole + 1e-300)
    assert norm(example.gram, a) ** 2 == pytest.approx(x @ x, abs=1e-12 * whole + 1e-300)
    np.testing.assert_allclose(unit_norms(example.gram), np.linalg.norm(example.rows, axis=1), rtol=1e-12)


def test_a_discrepancy_of_close_coefficients_has_no_cancellation() -> None:
    rows = np.random.default_rng(0).normal(size=(16, 1000))
    gram = rows @ rows.T
    c = np.full(16, 1 / 16)
    d = c * (1 + 1e-7) - c
    exact = np.linalg.norm(d @ rows)
    assert norm(gram, d) == pytest.approx(exact, rel=1e-8)
    low = rows.astype(np.float32)
    subtracted = np.linalg.norm((c * (1 + 1e-7)).astype(np.float32) @ low - c.astype(np.float32) @ low)
    assert abs(subtracted / exact - 1) > 0.1


def test_clipping_shortens_what_is_too_long_and_nothing_else() -> None:
    np.testing.assert_array_equal(clip_factor(np.array([0.0, 0.5, 1.0, 4.0]), 1.0), [1, 1, 1, 0.25])


def test_what_is_added_to_the_norm_makes_the_gradient_shorter() -> None:
    factors = clip_factor(np.array([0.0, 0.9, 1.0, 4.0]), 1.0, added=0.25)
    np.testing.assert_allclose(factors, [1, 1 / 1.15, 0.8, 1 / 4.25])


def test_cancellation_is_one_for_a_single_unit_and_large_where_units_oppose() -> None:
    assert cancellation(np.eye(1), np.ones(1)) == 1.0
    opposed = np.array([[1.0, -0.99], [-0.99, 1.0]])
    assert cancellation(opposed, np.ones(2)) == pytest.approx(4 / 0.02)
    assert cancellation(np.zeros((2, 2)), np.ones(2)) == 1.0
