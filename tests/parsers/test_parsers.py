"""Whatever is read from outside is read rightly, or refused in one line, and soon."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.parsers import PARSERS
from tests.parsers.parser import fault


@pytest.mark.parametrize("name", [name for name, parser in PARSERS.items() if parser.valid])
def test_what_is_valid_is_read(name: str) -> None:
    for valid in PARSERS[name].valid:
        assert fault(PARSERS[name], valid) == ""


# Some of them search by Hypothesis themselves.
@pytest.mark.parametrize("name", PARSERS)
@settings(suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_input_ends_in_a_right_answer_or_in_one_line(name: str, data: st.DataObject) -> None:
    assert fault(PARSERS[name], data.draw(PARSERS[name].inputs)) == ""
