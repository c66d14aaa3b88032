"""The units table."""

from __future__ import annotations

import numpy as np
import pytest

from suite.algebra.units import Units, per
from suite.errors import UsageError


def test_units_run_sample_by_sample_and_part_by_part_with_the_regulariser_last() -> None:
    units = Units.of(2, {"elements": [[1, 3]], "weight": [2.0, 5.0]}, parts=("a", "b"), regulariser=True)
    frame = units.frame
    assert list(frame["sample"]) == [0, 0, 1, 1, -1]
    assert list(frame["part"]) == ["a", "b", "a", "b", "regulariser"]
    assert list(frame["elements"]) == [1, 3, 1, 3, 0]
    assert list(frame["weight"]) == [2, 2, 5, 5, 0]
    assert units.n == 2
    assert len(units) == 5


def test_totals_leave_the_regulariser_out() -> None:
    units = Units.of(3, {"elements": [4, 5, 6], "rank": [0, 0, 1]}, regulariser=True)
    np.testing.assert_array_equal(units.total(), [15] * 4)
    np.testing.assert_array_equal(units.total(by="rank"), [9, 9, 6, 0])
    assert units.groups("rank") == 2


def test_groups_that_are_empty_are_not_counted() -> None:
    assert Units.of(2, {"microbatch": [0, 3]}).groups("microbatch") == 2


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"wieght": 1}, "no column 'wieght'"),
        ({"weight": [1.0, 2.0]}, "must be a scalar, [3] or [3, 1]"),
        ({"elements": [1, -1, 2]}, "column 'elements' counts, and goes from 0 to 1099511627776"),
        ({"positions": [1, 1e308, 2]}, "column 'positions' counts, and goes from 0 to 1099511627776"),
        ({"weight": [1.0, np.nan, 2.0]}, "must be finite"),
    ],
)
def test_a_column_that_cannot_be_is_refused_in_one_line(columns: dict, said: str) -> None:
    with pytest.raises(UsageError) as error:
        Units.of(3, columns)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"parts": ["a", "b"]}, "parts are ['a', 'b']: a tuple of names is needed"),
        ({"parts": (1,)}, "parts are (1,): a tuple of names is needed"),
        ({"window": 0}, "window is 0: a whole number from 1 to 1099511627776 is needed"),
        (
            {"max_norm": 10**310},
            "max_norm is 10000000000000000000… (311 characters): a finite number of at least 0.0 is needed",
        ),
        ({"part_kind": "copy"}, "part_kind is 'copy': 'terms' or 'copies' is needed"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(settings: dict, said: str) -> None:
    columns = {"sample": np.arange(2), "part": np.zeros(2), "elements": np.ones(2)}
    with pytest.raises(UsageError) as error:
        Units(**columns, **settings)
    assert str(error.value) == f"units: {said}"


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(UsageError, match="one value for each of the 2 units"):
        Units(sample=np.arange(2), part=np.zeros(2), elements=np.ones(3))


def test_asking_for_what_a_table_lacks_says_what_it_lacks() -> None:
    with pytest.raises(UsageError, match="no clip threshold is stated"):
        Units.of(2).require("max_norm")


def test_an_empty_group_divides_by_one() -> None:
    np.testing.assert_array_equal(per([0, 1, 4]), [1, 1, 0.25])
