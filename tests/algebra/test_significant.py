"""Numbers for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.algebra.significant import significant


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(127.0, 2, "127"), (-127.4, 2, "-127"), (99.6, 2, "100"), (16384.0, 4, "16384"), (99999.4, 2, "99999"),
     (99999.6, 2, "1e+05"), (123456.0, 4, "1.235e+05"), (0.0945, 2, "0.095"), (2e-7, 2, "2e-07"),
     (0.0, 2, "0"), (63.5, 2, "64"), (63.5, 4, "63.5")],
)  # fmt: skip
def test_whole_numbers_of_up_to_five_digits_are_written_out(value: float, digits: int, text: str) -> None:
    assert significant(value, digits) == text


@given(value=st.floats(-1e30, 1e30, allow_subnormal=False), digits=st.integers(1, 8))
def test_a_number_is_as_near_as_its_digits_allow(value: float, digits: int) -> None:
    assert abs(float(significant(value, digits)) - value) <= 0.501 * abs(value) * 10.0 ** (1 - digits)
