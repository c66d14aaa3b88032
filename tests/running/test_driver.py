"""A run goes on where it was left, measures again what changed, and is the sum of its parts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import suite
from cases import cases
from suite.claim import ClaimSource, claim_sources
from suite.conventions import conventions
from suite.engines import engines
from suite.errors import UsageError
from suite.records.file import read, read_log
from suite.records.merge import merge
from suite.running import fingerprint as code
from suite.running import worker as benches
from suite.running.tasks import Task
from tests.running.same import SMALL, multiset, results, written

ASKED = {
    "cases": ["small-works*"],
    "conventions": ["sum", "half-mean"],
    "from_files": [SMALL],
    "check_steps": 2,
}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """The tasks that were measured, plans aside."""
    found: list[Task] = []
    original = benches.Worker.perform

    def perform(self: benches.Worker, task: Task) -> object:
        if task.kind != "plan":
            found.append(task)
        return original(self, task)

    monkeypatch.setattr(benches.Worker, "perform", perform)
    return found


def test_nothing_is_measured_twice_and_the_report_is_the_same(tmp_path: Path, measured: list) -> None:
    first = suite.run(**ASKED, output=tmp_path)
    count = len(measured)
    before = (tmp_path / "records.jsonl").read_bytes()
    again = suite.run(**ASKED, output=tmp_path)
    assert len(measured) == count > 0
    assert again.rows == first.rows  # to the last digit, costs included
    assert (tmp_path / "records.jsonl").read_bytes() == before
    assert results(read(tmp_path)) == results(first.rows)


def test_interrupted_at_each_item_it_goes_on_to_the_same_record(
    tmp_path: Path, measured: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {**ASKED, "cases": ["small-works"]}
    whole = suite.run(**asked)
    count = len(measured)
    spied = benches.Worker.perform
    for stop in range(count):
        left = [stop]

        def perform(self: benches.Worker, task: Task, left: list[int] = left) -> object:
            if task.kind != "plan":
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
            return spied(self, task)

        folder = tmp_path / str(stop)
        with monkeypatch.context() as patch:
            patch.setattr(benches.Worker, "perform", perform)
            with pytest.raises(KeyboardInterrupt):
                suite.run(**asked, output=folder)
        measured.clear()
        resumed = suite.run(**asked, output=folder)
        assert len(measured) == count - stop
        assert results(resumed.rows) == results(whole.rows) == results(written(folder))


def test_all_is_measured_again_if_asked_and_counts_once(tmp_path: Path, measured: list) -> None:
    first = suite.run(**ASKED, output=tmp_path)
    count = len(measured)
    suite.run(**ASKED, output=tmp_path, resume=False)
    assert len(measured) == 2 * count
    assert len(written(tmp_path)) == 2 * len(results(first.rows))
    assert results(read(tmp_path)) == results(first.rows)


def test_other_settings_are_kept_beside(tmp_path: Path, measured: list) -> None:
    one = {**ASKED, "check_steps": 0}
    suite.run(**one, output=tmp_path)
    count = len(measured)
    report = suite.run(**one, output=tmp_path, seed=1)
    assert len(measured) == 2 * count
    assert {row["seed"] for row in report.of("discrepancy")} == {1}
    assert {row["seed"] for row in read(tmp_path)} == {0, 1}


@pytest.mark.parametrize("what", ["version", "case", "convention", "engine", "data"])
def test_a_change_of_what_a_result_depends_on_measures_again(
    what: str, tmp_path: Path, measured: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {**ASKED, "cases": ["small-works"], "check_steps": 0}
    suite.run(**asked, output=tmp_path)
    count = len(measured)
    if what == "version":
        monkeypatch.setattr(benches.environment, "versions", lambda: {"torch": "99"})
    elif what == "data":
        original = cases["small-works"].build

        def build() -> object:
            problem = original()
            return dataclasses.replace(problem, data=tuple(tensor + 1 for tensor in problem.data))

        build.__module__ = original.__module__
        monkeypatch.setitem(
            cases._items, "small-works", dataclasses.replace(cases["small-works"], build=build)
        )
    else:
        homes = {
            "case": cases["small-works"].build.__module__,
            "convention": conventions["sum"].column.__module__,
            "engine": engines["opacus"].module,
        }
        changed = code.source_file(homes[what])
        assert changed is not None
        source = code.Path.read_bytes
        monkeypatch.setattr(
            code.Path, "read_bytes", lambda path: source(path) + (b"\n# changed" if path == changed else b"")
        )
    suite.run(**asked, output=tmp_path)
    assert len(measured) == 2 * count


def test_a_convention_that_is_not_measured_changes_nothing(
    tmp_path: Path, measured: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {**ASKED, "check_steps": 0}
    suite.run(**asked, output=tmp_path)
    count = len(measured)
    changed = code.source_file(conventions["clip-mean"].column.__module__)
    source = code.Path.read_bytes
    monkeypatch.setattr(
        code.Path, "read_bytes", lambda path: source(path) + (b"#" if path == changed else b"")
    )
    suite.run(**asked, output=tmp_path)
    assert len(measured) == count


@pytest.mark.parametrize("count", [2, 4])
def test_shards_and_merge_are_the_whole_run(tmp_path: Path, measured: list, count: int) -> None:
    whole = suite.run(**ASKED, output=tmp_path / "whole")
    one = len(measured)
    parts = [tmp_path / str(k) for k in range(1, count + 1)]
    for k, part in enumerate(parts, start=1):
        suite.run(**ASKED, output=part, shard=f"{k}/{count}")
    assert len(measured) == 2 * one  # each task in one part
    rows = merge(parts[::-1], tmp_path / "merged", print)
    assert results(rows) == results(whole.rows) == results(read(tmp_path / "merged"))
    measured.clear()
    suite.run(**ASKED, output=tmp_path / "merged")
    assert not measured


def test_claims_of_threads_are_items_as_well(
    tmp_path: Path, measured: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = ClaimSource("claims/of-tests", "?", "nowhere", "tests.running.claims")
    monkeypatch.setitem(claim_sources._items, thread.name, thread)
    first = suite.run([thread.name], output=tmp_path)
    assert [(row["claim"], row["verdict"]) for row in first.of("claim")] == [("two", "holds")]
    assert [(row["claim"], row["reason"]) for row in first.failures] == [
        ("broken", "RuntimeError: no (claims.py:15)")
    ]
    assert suite.run([thread.name], output=tmp_path).of("claim") == first.of("claim")
    assert [task.claim for task in measured] == ["two", "broken", "broken"]  # what failed is tried again
    assert results(read(tmp_path)) == results(first.rows)


def test_a_row_says_where_it_comes_from(tmp_path: Path) -> None:
    report = suite.run(**ASKED, output=tmp_path)
    environment = report.environment
    assert {"commit", "dirty", "torch", "opacus", "numpy", "device_name", "driver", "threads", "tf32",
            "deterministic"} <= set(environment)  # fmt: skip
    rows = results_with_costs(report)
    assert rows
    for row in rows:
        assert row["environment"] == environment["environment"]
        assert row["seconds"] > 0
        assert row["started"] >= environment["started"][:10]
        assert row["peak_memory"] is None or row["peak_memory"] > 10_000_000


def results_with_costs(report: suite.RunResult) -> list[dict]:
    return [row for row in report.rows if row["kind"] != "environment"]


def test_a_worker_with_other_code_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    original = benches.Worker.perform

    def perform(self: benches.Worker, task: Task) -> object:
        outcome = original(self, task)
        return outcome if task.kind == "plan" else dataclasses.replace(outcome, fingerprint="other")

    monkeypatch.setattr(benches.Worker, "perform", perform)
    report = suite.run(**{**ASKED, "check_steps": 0})
    assert not report.of("discrepancy")
    assert {row["reason"] for row in report.failures} == {
        "the code, the data or the versions changed during the run, or differ on a worker"
    }


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_a_shard_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write i/n with i from 1 to n"):
        suite.run(**ASKED, shard=text)


def test_a_run_is_not_merged_into_itself(tmp_path: Path) -> None:
    suite.run(**{**ASKED, "check_steps": 0}, output=tmp_path)
    with pytest.raises(UsageError, match="is among the runs to merge and the output as well"):
        merge([tmp_path], tmp_path, print)
    assert multiset(written(tmp_path))
    assert read_log(tmp_path).torn is None


def test_merging_once_more_writes_nothing_twice(tmp_path: Path) -> None:
    parts = [tmp_path / str(k) for k in (1, 2)]
    for k, part in enumerate(parts, start=1):
        suite.run(**{**ASKED, "check_steps": 0}, output=part, shard=f"{k}/2")
    once = merge(parts, tmp_path / "merged", print)
    before = (tmp_path / "merged" / "records.jsonl").read_bytes()
    assert merge(parts, tmp_path / "merged", print) == once
    assert (tmp_path / "merged" / "records.jsonl").read_bytes() == before
