"""Norms of gradients, some numbers at a time."""

from __future__ import annotations

import math
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from suite.loops import norms


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=3),
    st.integers(0, 1000),
    st.sampled_from([1, 5, 1 << 17]),
)
def test_norms_and_distances_are_those_of_the_whole_in_float64(shape, seed: int, at_a_time: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(shape, generator=draw) * 1e25 for _ in range(2))
    wide = torch.cat([a.double().flatten(), b.double().flatten()])
    with mock.patch.object(norms, "AT_A_TIME", at_a_time):
        assert norms.norm_of_all([a, b]) == pytest.approx(float(wide.norm()), rel=1e-13)
        apart = float((a.double() - b.double()).square().sum())
        assert float(norms.square(a, b)) == pytest.approx(apart, rel=1e-13)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_one_number_that_is_not_finite_is_seen(wrong: float) -> None:
    part = torch.ones(3, 4)
    assert norms.all_finite(part)
    part[1, 2] = wrong
    assert not norms.all_finite(part)


def test_infinities_that_cancel_are_seen_and_sums_that_overflow_are_finite() -> None:
    assert not norms.all_finite(torch.tensor([math.inf, -math.inf]))
    assert norms.all_finite(torch.full((9,), 3e38))
