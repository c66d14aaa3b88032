"""Runs that were made before."""

from __future__ import annotations

from pathlib import Path

from suite.records.file import read
from suite.report.page.history import history
from tests.report.rows import rows, write


def test_an_earlier_run_beside_it_is_compared_by_verdicts(tmp_path: Path) -> None:
    before = rows()
    before[0]["started"] = "2026-01-01T00:00:00+00:00"
    before[1]["verdict"] = "direction"
    write(tmp_path / "before", before)
    now = write(tmp_path / "now", rows())
    (found,) = history(now, read(now))
    assert (found.name, found.measured, found.shared, found.failed) == ("before", 40, 40, 0)
    assert found.changed == ("one, batch size 2, batch 0, sum against mean: direction → scale",)
    assert "commit abc123" in found.about


def test_later_runs_and_other_folders_are_no_history(tmp_path: Path) -> None:
    later = rows()
    later[0]["started"] = "2027-01-01T00:00:00+00:00"
    write(tmp_path / "later", later)
    (tmp_path / "notes").mkdir()
    now = write(tmp_path / "now", rows())
    assert history(now, read(now)) == []


def test_a_run_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (write(tmp_path / "torn", rows()) / "records.jsonl").write_text("{")
    now = write(tmp_path / "now", rows())
    (found,) = history(now, read(now))
    assert "cannot be read" in found.about
    assert "row 1 is cut off" in found.about
