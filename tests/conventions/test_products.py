"""A registered convention is a formula with a name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from suite.algebra.formula import Formula
from suite.algebra.quantities import Quantities
from suite.algebra.search import explain
from suite.algebra.units import Units
from suite.conventions import Convention, conventions
from suite.strategies import Example, examples

PRODUCTS = [convention.name for convention in conventions if convention.product is not None]
OTHERS = [convention.name for convention in conventions if convention.product is None]


def table(samples: int) -> Example:
    """A batch whose quantities are all different, in uneven micro-batches and ranks."""
    order = np.arange(samples)
    columns = {
        "elements": 1 + order % 4,
        "weight": 0.5 + order,
        "microbatch": (order + 1) // 2,
        "rank": (order + 1) // 4,
    }
    units = Units.of(
        samples,
        columns,
        window=samples,
        world_size=samples // 2,
        expected_batch_size=samples + 0.5,
        moving_average=samples / 3,
        max_norm=0.01,
    )
    return Example.of(units, np.random.default_rng(samples).normal(size=(samples, samples + 3)))


def products_of(convention: Convention) -> set[Formula]:
    """The formulas that give its coefficients on batches of three sizes."""
    found = []
    for samples in (7, 10, 14):
        example = table(samples)
        known = Quantities.of(example.units, gram=example.gram)
        column = convention.coefficients(example.units, example.gram)
        found.append(set(explain(column, np.zeros(samples), known)))
    return set.intersection(*found)


@pytest.mark.parametrize("name", OTHERS)
def test_a_convention_without_a_product_is_none(name: str) -> None:
    found = products_of(conventions[name])
    assert not found, f"say product={str(min(found, key=lambda one: one.complexity))!r} in its declaration"


@pytest.mark.parametrize(
    "name", ["mean", "mean-of-microbatch-means", "weighted-mean", "fault:partial-window"]
)
def test_a_product_is_found_where_there_is_one(name: str) -> None:
    known = Quantities.of(table(7).units, gram=table(7).gram)
    assert known.said(conventions[name].product) in products_of(conventions[name])


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
