"""The streaming engine against one backward pass a unit, over random architectures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

import suite
from suite.engines.engine import Refused, engines
from tests.engines.streaming.architectures import Architecture, architectures, one_term, two_terms

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")

STREAMING = engines["streaming"]


def distances(found, expected: torch.Tensor, seed: int) -> tuple[float, float]:
    """Of the Gram matrix and of random reductions, each relative to the largest of its kind."""
    expected = expected.double().numpy()
    gram = expected @ expected.T
    coefficients = np.random.default_rng(seed).normal(size=(3, len(expected)))
    coefficients[2] = 2 * coefficients[0]
    reduced, ours = coefficients @ expected, found.reduce(coefficients).double().numpy()
    size = max(np.abs(coefficients).sum(1).max() * np.sqrt(np.diagonal(gram).max()), 1e-30)
    return (
        float(np.abs(found.gram() - gram).max() / max(gram.max(), 1e-30)),
        float(np.linalg.norm(reduced - ours, axis=1).max() / size),
    )


@given(architectures(), st.integers(0, 100))
def test_float64_agrees_with_one_by_one_to_twelve_digits(found: Architecture, seed: int) -> None:
    expected = found.unit_gradients()
    got = STREAMING.compute(found.model, found.batch, found.losses)
    assert got.shape == tuple(expected.shape)
    assert max(distances(got, expected, seed)) < 1e-12
    torch.testing.assert_close(got.matrix, expected, rtol=1e-10, atol=1e-11)


@given(architectures(), st.integers(0, 100))
def test_float32_agrees_with_float64_to_five_digits(found: Architecture, seed: int) -> None:
    single = found.cast(torch.float32)
    expected = found.unit_gradients()
    # A norm of two numbers can be so badly conditioned that float32 autograd itself is not right.
    assume((single.unit_gradients().double() - expected).norm() < 1e-6 * expected.norm())
    got = STREAMING.compute(single.model, single.batch, single.losses)
    assert max(distances(got, expected, seed)) < 1e-5
