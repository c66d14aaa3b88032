"""Labels are apart, in order, within bounds, and no further from their places than needed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.figures.labels import place_labels

PLACES = st.lists(st.floats(-5, 15), max_size=8).map(sorted)


@given(wanted=PLACES, step=st.floats(0.01, 4))
def test_labels_are_apart_in_order_and_within_bounds(wanted: list[float], step: float) -> None:
    found = place_labels(wanted, step, 0, 10)
    least = min(step, 10 / max(len(wanted) - 1, 1))
    assert all(b - a >= least - 1e-12 for a, b in itertools.pairwise(found))
    assert all(-1e-12 <= place <= 10 + 1e-12 for place in found)


@given(wanted=PLACES, step=st.floats(0.01, 1), seed=st.integers(0, 99))
def test_no_other_places_are_nearer(wanted: list[float], step: float, seed: int) -> None:
    found = place_labels(wanted, step, 0, 10)
    draw = np.random.default_rng(seed)
    for size in (1e-3, 0.1, 1.0):
        other = np.array(found) + draw.normal(0, size, len(found))
        if (np.diff(other) >= step).all() and ((other >= 0) & (other <= 10)).all():
            nearest, distance = (np.square(np.array(p) - wanted).sum() for p in (found, other))
            assert nearest <= distance + 1e-9


def test_what_is_apart_already_stays() -> None:
    assert place_labels([1.0, 2.5, 7.0], 1.5, 0, 10) == pytest.approx([1.0, 2.5, 7.0])
    assert place_labels([], 1, 0, 10) == []
    assert place_labels([12.0], 1, 0, 10) == [10]
