"""A run from its folder, cut down."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.errors import UsageError
from suite.report.load import load_run, narrow
from suite.report.run_result import RunResult
from tests.report.rows import rows, write


def test_cases_and_conventions_are_chosen_by_globs(tmp_path: Path) -> None:
    report = load_run(write(tmp_path, rows()), ["t*"], ["clip-*"])
    assert {row["case"] for row in report.of("discrepancy")} == {"two"}
    assert {row["convention"] for row in report.of("discrepancy")} == {"clip-each-unit", "clip-mean"}
    assert report.environment["reference"] == "mean"


def test_a_pair_stays_only_with_both_its_conventions() -> None:
    report = narrow(RunResult(rows()), (), ["clip-*"])
    assert {(r["convention"], r["reference"]) for r in report.of("pair")} == {("clip-each-unit", "clip-mean")}


@pytest.mark.parametrize(("cases", "conventions"), [(["on"], []), ([], ["summ"])])
def test_a_pattern_that_matches_nothing_is_answered_with_what_is_near(
    cases: list[str], conventions: list[str]
) -> None:
    with pytest.raises(UsageError, match=r"of this run is named .*: did you mean"):
        narrow(RunResult(rows()), cases, conventions)


def test_a_run_without_cases_cannot_be_asked_for_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the run holds no case: leave out --case"):
        load_run(write(tmp_path / "run", rows()[:1]), ["one"])
