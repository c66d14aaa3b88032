"""What weights are proportional to."""

from __future__ import annotations

import numpy as np
import pytest

from suite.algebra.formula import Formula
from suite.algebra.quantities import Quantities
from suite.algebra.shapes import shapes, told_units
from suite.algebra.units import Units

UNITS = Units.of(5, {"elements": [2, 3, 3, 5, 7], "microbatch": [0, 0, 1, 1, 1]}, window=2, regulariser=True)
KNOWN = Quantities.of(UNITS)


def test_a_shape_leaves_an_interval_for_its_constant() -> None:
    weights = KNOWN.column(Formula.parse("1/V_k")) * 0.3
    shape = shapes(weights, np.full(6, 1e-9), KNOWN)[0]
    assert str(shape.formula) == "1/V_k"
    assert shape.low <= 0.3 <= shape.high
    assert shape.constant == pytest.approx(0.3)
    assert shape.high - shape.low < 1e-7


def test_weights_of_one_value_are_proportional_to_nothing_that_varies() -> None:
    assert str(shapes(np.full(6, 2.0), np.full(6, 1e-9), KNOWN)[0].formula) == "1"


def test_units_of_which_nothing_is_told_and_the_regulariser_decide_nothing() -> None:
    error = np.array([0, np.inf, 0, np.nan, 0, 0])
    assert told_units(np.ones(6), error, KNOWN).tolist() == [True, False, True, False, True, False]
    assert shapes(np.ones(6), np.full(6, np.inf), KNOWN) == []
