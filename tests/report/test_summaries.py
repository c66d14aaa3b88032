"""What columns show of several rows."""

from __future__ import annotations

from suite.report.summaries import _span


def test_a_column_spans_its_values_and_is_empty_without_any() -> None:
    rows = [{"a": 1.0, "b": None}, {"a": 3.0, "b": 2.0}]
    assert _span(rows, "a") == (1.0, 3.0)
    assert _span(rows, "b") == 2.0
    assert _span(rows, "c") is None
