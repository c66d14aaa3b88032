"""The coefficients of the design's table, written out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from suite.algebra.units import Units
from suite.conventions import conventions

UNITS = Units.of(
    4,
    {
        "elements": [4, 16, 7, 9],
        "positions": 16,
        "weight": [1.0, 5.0, 0.0, 2.0],
        "microbatch": [0, 0, 0, 1],
        "rank": [0, 0, 1, 1],
    },
    window=4,
    world_size=3,
    expected_batch_size=8.0,
    max_elements=20,
    max_norm=1.0,
    moving_average=100.0,
)
GRAM = np.diag([4.0, 1.0, 0.25, 0.0])  # norms 2, 1, ½, 0

EXPECTED = {
    "sum": [1, 1, 1, 1],
    "mean": [1 / 4] * 4,
    "element-mean": [1 / 36] * 4,
    "batchmean": [1 / 4] * 4,
    "half-mean": [1 / 8] * 4,
    "half-sum": [1 / 2] * 4,
    "mean-of-sample-means": [1 / 16, 1 / 64, 1 / 28, 1 / 36],
    "weighted-sum": [1, 5, 0, 2],
    "weighted-mean": np.array([1, 5, 0, 2]) / (4 + 80 + 18),
    "sum-over-batch-size": np.array([1, 5, 0, 2]) / 36,
    "sum-by-nonzero-weights": np.array([1, 5, 0, 2]) / 29,
    "token-mean": [1 / 36] * 4,
    "position-mean": [1 / 64] * 4,
    "mean-of-sequence-means": [1 / 16, 1 / 64, 1 / 28, 1 / 36],
    "constant-normaliser": [1 / 80] * 4,
    "mean-of-microbatch-means": [1 / 54, 1 / 54, 1 / 54, 1 / 18],
    "sum-of-microbatch-means": [1 / 27, 1 / 27, 1 / 27, 1 / 9],
    "window-exact": [1 / 36] * 4,
    "partial-window-over-full-k": [1 / 108, 1 / 108, 1 / 108, 1 / 36],
    "mean-of-rank-means": [1 / 40, 1 / 40, 1 / 32, 1 / 32],
    "sum-of-rank-means": [1 / 20, 1 / 20, 1 / 16, 1 / 16],
    "global-count": [1 / 36] * 4,
    "joined-ranks-over-world-size": [1 / 60, 1 / 60, 1 / 48, 1 / 48],
    "clip-each-unit": [1 / 8, 1 / 4, 1 / 4, 1 / 4],
    "clip-sum-then-divide": np.full(4, 1 / np.sqrt(5.25) / 4),
    "expected-batch-size": [1 / 8] * 4,
    "moving-average-normaliser": [1 / 93.6] * 4,  # 0.9 · 100 + 0.1 · 36
    "share-weighted-microbatch-means": [3 / 4 / 27, 3 / 4 / 27, 3 / 4 / 27, 1 / 4 / 9],
    "clip-each-rank-then-mean": [1 / 40, 1 / 40, 1 / 32, 1 / 32],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_coefficients_are_the_designs(name: str) -> None:
    np.testing.assert_allclose(conventions[name].coefficients(UNITS, GRAM), EXPECTED[name], rtol=1e-14)


def test_a_regulariser_is_left_alone_unless_the_convention_says_otherwise() -> None:
    units = Units.of(4, {"microbatch": [0, 0, 1, 1]}, regulariser=True, window=2)
    applying = [convention for convention in conventions.match() if convention.missing(units) is None]
    last = {convention.name: convention.coefficients(units, np.eye(5))[-1] for convention in applying}
    assert last.pop("regulariser-over-n") == 1 / 4
    assert last.pop("sum-of-microbatch-means") == 2  # each micro-batch's loss brings its own
    assert set(last.values()) == {1.0}


def test_a_batch_without_any_valid_token_has_finite_coefficients() -> None:
    units = Units.of(2, {"elements": 0, "positions": 3}, max_elements=3)
    for name in ("token-mean", "mean-of-sequence-means", "element-mean", "position-mean"):
        assert np.isfinite(conventions[name].coefficients(units, np.zeros((2, 2)))).all()
