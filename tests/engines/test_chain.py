"""Rows of coefficients follow from each other, over few units each, and nothing is lost by that."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.engines.chain import MAGNIFIED, chain, multiples


def clipped(norms: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return np.minimum(1, thresholds[:, None] / norms) / len(norms)


def summed(rows: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """The reductions, as a layer makes them: in the numbers of `gradients`."""
    found = np.full((len(rows), gradients.shape[1]), np.nan, dtype=gradients.dtype)
    for link in chain(rows):
        some = gradients if link.units is None else gradients[link.units]
        found[link.row] = link.coefficients.astype(gradients.dtype) @ some
        if link.parent is not None:
            found[link.row] += gradients.dtype.type(link.factor) * found[link.parent]
    return found


def given_rows(units: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds, means, samples that are lost or counted twice, multiples and anything; and norms."""
    draw = np.random.default_rng(seed)
    norms = np.exp(2 * draw.normal(size=units)) if seed % 3 else draw.choice([0.5, 1.0, 2.0, 4.0], units)
    rows = [clipped(norms, np.quantile(norms, draw.random(count))), np.ones((1, units))]
    rows += [draw.integers(0, 3, (2, units)).astype(float), draw.normal(size=(1, units))]
    rows += [np.zeros((1, units)), rows[0][:1] * 7]
    return draw.permutation(np.concatenate(rows)) * draw.choice([1e-3, 1.0, 10.0]), norms


@given(st.integers(1, 70), st.integers(1, 9), st.integers(0, 10_000))
def test_sums_along_the_chain_are_the_rows_sums(units: int, count: int, seed: int) -> None:
    rows, norms = given_rows(units, count, seed)
    gradients = np.random.default_rng(seed).normal(size=(units, 5)) * norms[:, None]
    ours, exact = summed(rows, gradients), rows @ gradients
    bound = np.abs(rows) @ np.abs(gradients)
    assert (np.abs(ours - exact) <= 1e-13 * bound).all()
    single = summed(rows, gradients.astype(np.float32))
    assert (np.abs(single - exact) <= (units + 4) * MAGNIFIED * 6e-8 * bound).all()


@given(st.integers(1, 70), st.integers(1, 9), st.integers(0, 10_000))
def test_all_rows_are_multiples_of_those_that_are_none(units: int, count: int, seed: int) -> None:
    rows, _ = given_rows(units, count, seed)
    own, mix = multiples(chain(rows))
    assert (np.abs(mix @ rows[own] - rows) <= 1e-12 * np.abs(rows)).all()
    assert len(own) <= len(rows) - 1  # one is seven times another


@pytest.mark.parametrize("count", [3, 8, 20])
def test_a_sweep_of_thresholds_sums_over_a_fraction_of_the_units(count: int) -> None:
    norms = np.linspace(1, 2, 400)
    rows = np.concatenate([np.full((1, 400), 1 / 400), clipped(norms, np.linspace(1.1, 1.9, count))])
    links = chain(rows)
    assert [link.parent is None for link in links].count(True) == 1
    assert sum(len(link.coefficients) for link in links) <= (1.2 + count / 3) * 400  # of 1 + count


def test_a_row_whose_parent_would_cancel_is_a_sum_of_its_own() -> None:
    rows = np.array([[1.0, 1.0, 1.0, 1e9], [1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0]])
    links = {link.row: link for link in chain(rows)}
    assert links[1].parent != 0
    assert links[2].parent is None  # nothing is left of the unit that others have


def test_rows_without_likeness_are_sums_of_their_own() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 20))
    assert all(link.parent is None and link.units is None for link in chain(rows))


def test_a_sum_over_few_units_takes_those_alone() -> None:
    rows = np.eye(4, 40)
    assert [len(link.coefficients) for link in chain(rows)] == [1] * 4
