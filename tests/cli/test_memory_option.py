"""`--memory`: what comes out is the same, and what cannot fit is told before anything is measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import suite
from suite.cli.main import main
from suite.errors import UsageError

SMALL = ["--case", "cross-entropy-mlp", "--batch-size", "64", "--check-steps", "0", "--quick"]


def discrepancies(report: suite.RunResult) -> list[dict]:
    return [row for row in report.rows if row["kind"] == "discrepancy"]


def test_a_run_in_pieces_finds_what_a_run_at_once_finds() -> None:
    options = {"batch_sizes": [64], "check_steps": 0}
    whole = suite.run(["cross-entropy-mlp"], **options)
    pieces = suite.run(["cross-entropy-mlp"], memory="4.5MB", **options)
    assert not whole.failures
    assert not pieces.failures
    assert {row["chunks"] for row in discrepancies(whole)} == {1}
    assert min(row["chunks"] for row in discrepancies(pieces) if row["samples"] == 64) > 1
    for a, b in zip(discrepancies(whole), discrepancies(pieces), strict=True):
        assert {k: a[k] for k in ("convention", "batch", "engine", "verdict")} == {
            k: b[k] for k in ("convention", "batch", "engine", "verdict")
        }
        for key in ("scale", "cosine", "max_abs", "rounding", "rounding_bfloat16"):
            if a[key] is None:
                assert b[key] is None
            else:
                assert a[key] == pytest.approx(b[key], rel=1e-10, abs=1e-12)
    assert [r["memory"] for r in pieces.rows if r["kind"] == "environment"] == [4_500_000]


@pytest.mark.parametrize("command", [["run", *SMALL], ["bench", "--case", "cross-entropy-mlp"]])
def test_a_case_that_cannot_fit_is_told_before_anything_is_measured(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ["--output", str(tmp_path / "run")] if command[0] == "run" else []
    assert main([*command, *output, "--memory", "100kB"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "case 'cross-entropy-mlp' needs" in line
    assert "100 kB" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", [["run", *SMALL], ["bench"]])
def test_what_is_no_amount_is_bad_input(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ["--output", str(tmp_path / "run")] if command[0] == "run" else []
    assert main([*command, *output, "--memory", "lots"]) == 2
    assert "as 500000000, 500MB or 2GiB; 'lots' was given" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_as_much_as_is_said_to_be_needed_is_enough() -> None:
    options = {"batch_sizes": [8], "check_steps": 0, "quick": True}
    with pytest.raises(UsageError) as told:
        suite.run(["mse"], memory=1000, **options)
    enough = str(told.value).partition("give --memory ")[2].removesuffix(" or more")
    assert not suite.run(["mse"], memory=enough, **options).failures


def test_bench_says_in_how_many_pieces(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--case", "cross-entropy-mlp", "--units", "64", "--rounds", "1", "--memory", "3MB"]
    assert main(["bench", *options, "--engine", "opacus", "--engine", "streaming", "--json"]) == 0
    rows = {row["engine"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["opacus"]["chunks"] > 1
    assert rows["streaming"]["chunks"] == 1
