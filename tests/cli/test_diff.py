"""`gradsuite diff` and `gradsuite merge` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.cli.main import main
from suite.records.file import encode, read
from tests.made_up import record_environment, record_row

ENVIRONMENT = record_environment()
COMMON = ("schema", "environment", "case", "device", "dtype", "seed", "started", "seconds", "peak_memory")


def run(folder: Path, *rows: dict, index: int = 0) -> Path:
    folder.mkdir()
    done = {"environment": ENVIRONMENT["environment"], "item": f"item {index}", "work": str(index)}
    data = encode(list(rows), {**done, "fingerprint": str(index), "index": index}, [ENVIRONMENT])
    (folder / "records.jsonl").write_bytes(data)
    return folder


def test_no_change_is_0_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(run(tmp_path / name, record_row())) for name in "ab"]
    assert main(["diff", *folders]) == 0
    assert capsys.readouterr().out == "No change: 1 rows agree to rounding.\n"


def test_a_change_is_1_with_a_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = run(tmp_path / "a", record_row(), record_row(batch="1"))
    new = run(tmp_path / "b", record_row(verdict="direction", scale=2.0 * (1 + 1e-6)), record_row(batch="2"))
    assert main(["diff", str(old), str(new)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "Changes in 3 rows; 1 were compared: 1 verdicts and 1 values changed, 1 rows are new, 1 are gone."
    )
    assert lines[1] == "  mse, batch size 2, batch 0, sum ≠ mean: verdict scale → direction"
    assert lines[2].startswith(
        "  mse, batch size 2, batch 0, sum ≠ mean: scale 2.0 → 2.000002, by 2e-06; rounding"
    )
    assert lines[3:] == [
        "  mse, batch size 2, batch 2, sum ≠ mean: new (scale)",
        "  mse, batch size 2, batch 1, sum ≠ mean: gone (scale)",
    ]


def test_markdown_is_a_table_that_hostile_names_do_not_break(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = run(tmp_path / "a", record_row(case="a|b"))
    new = run(tmp_path / "b", record_row(case="a|b", verdict="rounding", seconds=9.0))
    assert main(["diff", str(old), str(new), "--format", "markdown"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("**Changes in 1 rows;")
    assert {line.count("|") for line in lines if line.startswith("|")} == {6}
    assert "- a|b took 90 times as long" in lines


def test_what_is_no_run_is_2_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = run(tmp_path / "a", record_row())
    (tmp_path / "records.jsonl").write_text("hello\n")
    for wrong in (tmp_path, tmp_path / "nowhere"):
        assert main(["diff", str(good), str(wrong)]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_runs_are_merged_in_the_order_of_the_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = run(tmp_path / "b", record_row(batch="1"), index=1)
    first = run(tmp_path / "a", record_row(batch="0"), index=0)
    together = str(tmp_path / "c")
    assert main(["merge", str(second), str(first), str(first), "--output", together]) == 0
    assert "2 rows of 3 runs" in capsys.readouterr().out
    assert [row.get("batch") for row in read(together)] == [None, "0", "1"]
    assert (tmp_path / "c" / "discrepancies.csv").exists()


def test_markdown_of_what_did_not_change_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(run(tmp_path / name, record_row())) for name in "ab"]
    assert main(["diff", *folders, "--format", "markdown"]) == 0
    assert capsys.readouterr().out.strip() == "**No change: 1 rows agree to rounding.**"


def test_merging_tells_of_a_torn_end_and_of_what_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = {key: value for key, value in record_row().items() if key in COMMON}
    one = run(tmp_path / "a", {**failed, "kind": "failure", "reason": "it broke"})
    together = run(tmp_path / "c", record_row(batch="1"), index=1)
    first = (one / "records.jsonl").read_bytes()
    with (together / "records.jsonl").open("ab") as file:
        file.write(first[: len(first) // 2])
    assert main(["merge", str(one), "--output", str(together)]) == 1
    told = capsys.readouterr()
    assert "it broke" in told.out
    assert "cut off" in told.err


def test_markdown_tells_what_was_measured_differently(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = run(tmp_path / "a", record_row())
    other = record_environment(torch="2.12.0")
    monkeypatch.setattr("tests.cli.test_diff.ENVIRONMENT", other)
    new = run(tmp_path / "b", record_row(environment=other["environment"]))
    assert main(["diff", str(old), str(new), "--format", "markdown"]) == 0
    shown = capsys.readouterr().out
    assert "Measured differently:" in shown
    assert "2.12.0" in shown
