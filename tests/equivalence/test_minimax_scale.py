"""The scale at which the largest of several distances is lowest, from few evaluations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.equivalence.minimax_scale import minimax_scale


class Counted:
    """Distances of paths `start + slope/scale + bend/scale²` from nothing, one a step."""

    def __init__(self, starts, slopes, bends) -> None:
        self._paths = np.array([starts, slopes, bends])
        self.calls = 0

    def __call__(self, scale: float) -> tuple[float, ...]:
        self.calls += 1
        return self.at(scale)

    def at(self, scale: float) -> tuple[float, ...]:
        powers = np.array([1, 1 / scale, 1 / scale**2])
        return tuple(np.linalg.norm(np.einsum("p,psd->sd", powers, self._paths), axis=-1).tolist())

    def lowest_on_a_grid(self, low: float, high: float) -> float:
        return min(max(self.at(scale)) for scale in np.geomspace(low, high, 20_001))


def paths(seed: int, bend: float) -> Counted:
    """What trainings look like: the weights go down a slope that other rates go down faster."""
    random = np.random.default_rng(seed)
    slopes = random.standard_normal((6, 5)).cumsum(axis=0)
    starts = -slopes / random.uniform(2, 8, (6, 1))
    return Counted(starts, slopes, bend * random.standard_normal((6, 5)))


@pytest.mark.property
@given(seed=st.integers(0, 2**31), bend=st.sampled_from([0.0, 1e-3, 1e-2, 0.1]))
def test_no_scale_on_a_fine_grid_is_better(seed: int, bend: float) -> None:
    distances = paths(seed, bend)
    scale, found = minimax_scale(distances, 2.0, 8.0)
    assert 2 <= scale <= 8
    assert found == distances.at(scale)
    assert max(found) <= distances.lowest_on_a_grid(2.0, 8.0) * (1 + 1e-7)


@pytest.mark.parametrize("seed", range(8))
def test_nearly_straight_paths_take_a_handful_of_trainings(seed: int) -> None:
    distances = paths(seed, 1e-3)
    minimax_scale(distances, 2.0, 8.0)
    assert distances.calls <= 8


def test_a_scale_that_does_not_vary_takes_one_training() -> None:
    distances = paths(0, 0.1)
    assert minimax_scale(distances, 4.0, 4.0) == (4.0, distances.at(4.0))
    assert distances.calls == 1


def test_trainings_that_diverge_are_passed_over() -> None:
    def distances(scale: float) -> tuple[float, ...]:
        return (abs(scale - 5), 0.5) if scale > 4 else (math.inf,)

    scale, found = minimax_scale(distances, 2.0, 8.0)
    assert max(found) == 0.5
    assert 4.5 <= scale <= 5.5


def test_what_is_no_polynomial_is_searched_on_a_grid() -> None:
    def distances(scale: float) -> tuple[float, ...]:
        return (1 + math.sin(40 * scale) + 0.1 * scale,)

    calls = [minimax_scale(distances, 2.0, 8.0) for _ in range(2)]
    assert calls[0] == calls[1]
    coarse = min(max(distances(s)) for s in np.geomspace(2, 8, 9))
    assert max(calls[0][1]) <= coarse
