from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.batch_size.noise import NoiseScale, noise_scale
from suite.errors import UsageError


def gram(gradients):
    return gradients @ gradients.T


@given(seed=st.integers(0, 2**16), samples=st.integers(2, 12), params=st.integers(1, 8))
def test_the_estimates_are_those_of_the_gradients_themselves(seed, samples, params):
    gradients = np.random.default_rng(seed).standard_normal((samples, params)) + 1
    estimate = noise_scale(gram(gradients))
    assert estimate.trace == pytest.approx(
        np.cov(gradients.T, ddof=1).trace() if params > 1 else gradients.var(ddof=1)
    )
    others = [a @ b for i, a in enumerate(gradients) for j, b in enumerate(gradients) if i != j]
    assert estimate.square == pytest.approx(np.mean(others), abs=1e-12)


def test_the_estimates_are_unbiased_at_every_batch_size():
    generator = np.random.default_rng(0)
    truth, spread = np.array([0.5, -1.0, 0.2]), np.array([2.0, 0.5, 1.0])
    for samples in (2, 5):
        draws = truth + spread * generator.standard_normal((20_000, samples, 3))
        found = [noise_scale(gram(one)) for one in draws]
        assert np.mean([n.trace for n in found]) == pytest.approx((spread**2).sum(), rel=0.03)
        assert np.mean([n.square for n in found]) == pytest.approx((truth**2).sum(), rel=0.05)


def test_the_squared_norm_of_the_mean_alone_would_be_biased_by_the_noise():
    generator = np.random.default_rng(0)
    draws = 0.1 + generator.standard_normal((20_000, 4, 3))
    naive = np.mean([gram(one).mean() for one in draws])
    ours = np.mean([noise_scale(gram(one)).square for one in draws])
    assert naive == pytest.approx(0.03 + 3 / 4, rel=0.05)
    assert ours == pytest.approx(0.03, abs=0.01)


def test_pooling_averages_before_it_divides():
    generator = np.random.default_rng(1)
    batches = [gram(1 + generator.standard_normal((8, 3))) for _ in range(4)]
    single = [noise_scale(batch) for batch in batches]
    pooled = noise_scale(*batches)
    assert pooled.samples == 32
    assert pooled.simple == pytest.approx(
        np.mean([n.trace for n in single]) / np.mean([n.square for n in single])
    )


@given(factor=st.floats(1e-3, 1e3))
def test_a_scale_of_all_gradients_does_not_change_it(factor):
    gradients = 1 + np.random.default_rng(3).standard_normal((6, 4))
    assert noise_scale(gram(factor * gradients)).simple == pytest.approx(noise_scale(gram(gradients)).simple)


def test_equal_gradients_have_no_noise():
    estimate = noise_scale(np.ones((5, 5)))
    assert (estimate.trace, estimate.square, estimate.simple) == (0.0, 1.0, 0.0)


def test_gradients_that_cancel_show_none_and_it_says_so():
    estimate = noise_scale(gram(np.array([[1.0], [-1.0]])))
    assert estimate.square < 0
    assert math.isinf(estimate.critical_batch_size)
    assert "hides the gradient" in estimate.reason
    assert noise_scale(np.ones((5, 5))).reason == ""


def test_at_the_critical_batch_size_the_best_rate_is_half_of_the_largest():
    noise = NoiseScale(trace=50.0, square=2.0, samples=10)
    assert noise.rate(noise.critical_batch_size) == 0.5
    assert noise.rate(1e12) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (np.ones((1, 1)), "at least two samples"),
        (np.ones((2, 3)), r"shape \[2, 3\]"),
        (np.ones(3), r"shape \[3\]"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), "not finite"),
    ],
)
def test_what_is_no_gram_matrix_is_refused(wrong, says):
    with pytest.raises(UsageError, match=says):
        noise_scale(wrong)


def test_it_needs_a_matrix():
    with pytest.raises(UsageError, match="at least one"):
        noise_scale()
