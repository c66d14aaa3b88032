"""A registered convention is a formula with a name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from suite.algebra.quantities import Quantities
from suite.conventions import conventions
from suite.strategies import examples

BY_POSITION = {"fault:never-zeroed", "fault:kept-as-views", "fault:kept-by-reference", "fault:clipped-inside"}
"""Their coefficients depend on the order of the units, which no quantity of a batch is."""
PRODUCTS = [convention.name for convention in conventions if convention.product is not None]


def test_all_conventions_but_those_of_the_order_are_products() -> None:
    assert {c.name for c in conventions if c.product is None} == BY_POSITION


@pytest.mark.parametrize("name", PRODUCTS)
@given(data=st.data())
def test_the_formula_gives_the_coefficients(name: str, data: st.DataObject) -> None:
    convention = conventions[name]
    example = data.draw(examples(convention.needs))
    units = example.units
    # The regulariser counts once beside the sum, and n times in ‖n·g‖: a formula says nothing of it.
    assume(name != "clip-sum-then-divide" or not units.regulariser)
    known = Quantities.of(units, gram=example.gram)
    expected = convention.coefficients(units, example.gram)
    for formula in (convention.product, known.said(convention.product)):
        found = known.column(formula)
        np.testing.assert_allclose(found[units.data], expected[units.data], rtol=1e-12, err_msg=str(formula))
