"""Every convention against its reference loop, over random units tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.algebra.columns import NEEDS
from suite.algebra.gram import unit_norms
from suite.algebra.units import Units
from suite.conventions import conventions
from suite.loops.loop import run_reference_loop
from suite.strategies import examples


@pytest.mark.parametrize("name", conventions.names)
@given(data=st.data())
def test_coefficients_give_what_the_literal_loop_leaves(name: str, data: st.DataObject) -> None:
    convention = conventions[name]
    example = data.draw(examples(convention.needs))
    column = convention.coefficients(example.units, example.gram)
    expected = run_reference_loop(convention.reference_loop, example.loop).numpy()
    whole = np.abs(column) @ unit_norms(example.gram)
    assert np.linalg.norm(column @ example.rows - expected) <= 1e-12 * whole


@pytest.mark.parametrize("name", conventions.names)
@given(data=st.data())
def test_permuting_samples_permutes_coefficients(name: str, data: st.DataObject) -> None:
    convention = conventions[name]
    example = data.draw(examples(convention.needs))
    units = example.units
    order = np.random.default_rng(0).permutation(len(units) - units.regulariser)
    order = np.append(order, len(units) - 1) if units.regulariser else order
    columns = ("sample", "part", "elements", "positions", "weight", "microbatch", "rank", "term_weight")
    moved = replace(
        units, **{c: None if getattr(units, c) is None else getattr(units, c)[order] for c in columns}
    )
    gram = example.gram
    straight = convention.coefficients(units, gram)[order]
    permuted = convention.coefficients(moved, gram[np.ix_(order, order)])
    np.testing.assert_allclose(permuted, straight, rtol=1e-12)


@pytest.mark.parametrize("convention", list(conventions), ids=lambda c: c.name)
def test_cards_are_complete(convention) -> None:
    assert convention.summary.endswith((".", ")"))
    assert all([convention.formula, convention.denominator, convention.used_by, convention.source])
    assert set(convention.needs) <= set(NEEDS)
    assert convention.against is None or convention.against in conventions


def test_a_convention_that_lacks_its_column_says_why() -> None:
    reason = conventions["weighted-mean"].missing(Units.of(4))
    assert reason == "there are no sample or class weights"


def test_the_plainest_two_come_first() -> None:
    assert conventions.names[:2] == ["sum", "mean"]
