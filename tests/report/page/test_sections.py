"""The lines of the page."""

from __future__ import annotations

from suite.report.page.sections import _line
from suite.report.run_result import RunResult
from tests.report.rows import discrepancy, rows


def test_a_line_without_learning_rates_has_no_factor() -> None:
    report = RunResult(rows())
    row = discrepancy("one", 8, "0", "sum")
    assert "factor" not in _line(report, [row], [])


def test_gradients_that_are_identical_have_a_scale_of_one_whatever_the_formula() -> None:
    row = discrepancy("one", 8, "0", "own", verdict="identical", scale=1.0)
    found = _line(RunResult(rows()), [row], [])
    assert (found["scale"], found["factor"]) == ("1", "1")
