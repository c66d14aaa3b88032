"""The page without a browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from suite.report.load import load_run
from suite.report.page.render import render
from suite.report.run_result import RunResult
from tests.report.rows import ENVIRONMENT, HOSTILE, discrepancy, hostile, row, rows, write


def page(tmp_path: Path, found: list[dict]) -> str:
    run = write(tmp_path / "run", found)
    return render(load_run(run), run)


def test_everything_of_a_run_is_on_its_page(tmp_path: Path) -> None:
    found = page(tmp_path, [*rows(), row("failure", case="third", reason="it broke")])
    for text in ("it broke", "abc123", "clip-each-unit", 'id="case-one"', "micro-batches", "x86_64"):
        assert text in found


def test_nothing_is_asked_of_the_network(tmp_path: Path) -> None:
    found = page(tmp_path, rows())
    assert "default-src 'none'" in found
    assert re.findall(r"(?:src|href)=\"(?!#|data:)[^\"]*\"|url\((?!data:)|@import|fetch\(", found) == []


def test_text_from_outside_is_never_markup(tmp_path: Path) -> None:
    found = page(tmp_path, hostile())
    assert HOSTILE not in found
    assert found.count("</script>") == 2
    assert "<img" not in found
    assert "{{7*7}}" in found


def test_the_data_for_the_script_are_json(tmp_path: Path) -> None:
    found = page(tmp_path, hostile())
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', found, re.S)[1]
    data = json.loads(text, parse_constant=pytest.fail)  # browsers know no Infinity
    assert HOSTILE in data["measurements"]["texts"]
    assert len(data["measurements"]["rows"]) == 22


def test_a_run_that_measured_nothing_has_a_page_too(tmp_path: Path) -> None:
    found = page(tmp_path, [dict(ENVIRONMENT), row("failure", case="one", reason="no data")])
    assert "no data" in found


def test_what_was_left_out_is_one_line_for_all_that_share_reason_and_cases(tmp_path: Path) -> None:
    left = [
        row("omitted", case=case, batch_size=2, batch=batch, convention=name, reason="no tokens")
        for case in ("one", "two")
        for name in ("token-mean", "position-mean")
        for batch in "01"
    ]
    found = page(tmp_path, [*rows(), *left])
    assert "Left out where they do not apply: 4 pairs of case and convention" in found
    assert found.count("no tokens") == 1
    assert "<td>position-mean, token-mean</td><td>one, two</td>" in found


def test_the_map_says_what_other_batches_tell_apart(tmp_path: Path) -> None:
    more = [discrepancy("one", 8, "0", "alike", scale=1.0), discrepancy("one", 8, "9", "alike", scale=2.0)]
    found = page(tmp_path, [*rows(("one",)), *more])
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', found, re.S)[1]
    assert json.loads(text)["heatmaps"][0]["apart"] == ["alike from mean"]


def test_a_run_of_an_installed_copy_has_no_commit(tmp_path: Path) -> None:
    found = page(tmp_path, [{**ENVIRONMENT, "commit": None}, *rows()[1:]])
    assert "gradsuite 0.1.0" in found
    assert "None" not in re.search(r'<p class="provenance">(.*)</p>', found)[1]


def test_the_report_of_python_can_be_rendered(tmp_path: Path) -> None:
    assert "<!doctype html>" in render(RunResult(rows()), tmp_path)
