"""Tables fit into a terminal, and are as they are elsewhere."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.machine.terminal import NARROWEST, columns_of, fitted
from suite.report.text_table import Table

WORDS = st.lists(st.text("abc-", min_size=1, max_size=NARROWEST), min_size=1, max_size=12).map(" ".join)


@given(data=st.data(), columns=st.integers(2, 6))
def test_a_table_is_no_wider_than_its_terminal(data: st.DataObject, columns: int) -> None:
    rows = data.draw(st.lists(st.lists(WORDS, min_size=columns, max_size=columns), min_size=1, max_size=4))
    heads = data.draw(st.lists(st.text("abc", min_size=1, max_size=7), min_size=columns, max_size=columns))
    heads = [f"{head}{k}"[-7:] for k, head in enumerate(heads)]
    text = Table("t", "c", heads, rows).text(80)
    assert max(map(len, text.splitlines())) <= 80


def test_a_table_that_fits_or_is_for_a_file_stays_as_it_is() -> None:
    table = Table("t", "a caption", ["name", "value"], [["mean", "1"]])
    assert table.text(80) == table.text()
    assert fitted(["name"], [["x" * 200]], None) is None
    assert columns_of(io.StringIO()) is None
    assert columns_of(None) is None


@pytest.mark.parametrize("room", [40, 60, 80])
def test_the_widest_columns_are_wrapped_first(room: int) -> None:
    widths = fitted(["a", "b"], [["x " * 100, "short"]], room)
    assert widths is not None
    assert widths[1] is None
    assert widths[0] == room - len("short") - 2
