"""Two runs of one commit do not differ; those with another verdict or a coefficient 1e-6 off do."""

from __future__ import annotations

import copy
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import suite
from suite.conventions import conventions
from suite.records.diff import diff
from suite.records.file import read
from tests.made_up import record_environment, record_row
from tests.running.same import SMALL

ROOT = Path(__file__).parents[2]
ASKED = {"cases": ["mse", "next-token"], "conventions": ["sum", "token-mean", "clip-*", "position-mean"],
         "batch_sizes": [4], "check_steps": 0}  # fmt: skip


@pytest.fixture(scope="module")
def baseline() -> list[dict]:
    return suite.run(**ASKED).rows


def changed(rows: list[dict], **values: object) -> list[dict]:
    """The rows, the first discrepancy of them with other values."""
    rows = copy.deepcopy(rows)
    next(row for row in rows if row["kind"] == "discrepancy").update(values)
    return rows


def test_two_runs_of_one_commit_do_not_differ(baseline: list[dict], tmp_path: Path) -> None:
    suite.run(**ASKED, output=tmp_path)
    found = diff(baseline, read(tmp_path))
    assert found.changes == found.notes == []
    assert found.compared == len([row for row in baseline if row["kind"] != "environment"]) > 50


@pytest.mark.parametrize("engine", ["torch-func", "loop"])
def test_what_another_engine_rounds_differently_is_no_difference(baseline: list[dict], engine: str) -> None:
    other = suite.run(**ASKED, engine=engine).rows
    values = [[row["max_abs"] for row in rows if row["kind"] == "discrepancy"] for rows in (baseline, other)]
    assert values[0] != values[1]  # they do round differently
    assert {change.what for change in diff(baseline, other).changes} == {"engine"}


def test_a_coefficient_that_is_1e_6_off_is_found(
    baseline: list[dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the coefficients and the loop alike; in one of them, the convention fails its own reference loop."""
    name = "clip-mean"
    right = conventions[name]

    def column(*arguments: object) -> np.ndarray:
        return right.column(*arguments) * (1 + 1e-6)

    def loop(of: object) -> None:
        right.reference_loop(of)
        for parameter in of.parameters:
            parameter.grad *= 1 + 1e-6

    wrong = dataclasses.replace(right, column=column, reference_loop=loop)
    monkeypatch.setitem(conventions._items, name, wrong)
    found = diff(baseline, suite.run(**ASKED).rows)
    touched = {(c.row["convention"], c.row["reference"]) for c in found.changes}
    assert touched
    assert all(name in pair for pair in touched)
    cells = {(row["case"], row["batch"]) for row in baseline if row.get("convention") == name}
    assert {(c.row["case"], c.row["batch"]) for c in found.changes} == cells
    assert all(change.bound < 1e-8 for change in found.changes if change.what == "scale")


def test_coefficients_that_leave_their_protocol_are_found(
    baseline: list[dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = conventions["sum"]
    wrong = dataclasses.replace(right, column=lambda units: right.column(units) * (1 + 1e-6))
    monkeypatch.setitem(conventions._items, "sum", wrong)
    found = diff(baseline, suite.run(**ASKED).rows)
    reasons = [c.after for c in found.changes if c.what == "new"]
    assert any("convention 'sum' disagrees with its own loop by" in reason for reason in reasons)


def test_a_verdict_that_changed_is_found_and_comes_first(baseline: list[dict]) -> None:
    found = diff(baseline, changed(baseline, verdict="direction", cosine=0.5))
    assert [(c.what, c.after) for c in found.changes] == [("verdict", "direction"), ("cosine", 0.5)]


@pytest.mark.parametrize("name", ["scale", "cosine", "relative_discrepancy", "max_abs"])
@given(relative=st.floats(1e-6, 1e3), sign=st.sampled_from([-1, 1]))
def test_each_number_differs_by_1e_6_and_not_by_an_epsilon(name: str, relative: float, sign: int) -> None:
    numbers = {"scale": 1.7, "cosine": 0.8, "relative_discrepancy": 0.9, "residual": 0.4, "max_abs": 0.3}
    row = record_row(**numbers, verdict="direction")
    old = [record_environment(), row]
    (change,) = diff(old, changed(old, **{name: row[name] * (1 + sign * relative)})).changes
    assert change.what == name
    assert not diff(old, changed(old, **{name: float(np.nextafter(row[name], 9))})).changes


def test_a_number_that_is_lost_is_a_difference(baseline: list[dict]) -> None:
    (change,) = diff(baseline, changed(baseline, scale=None)).changes
    assert (change.what, change.after) == ("scale", None)


def test_rows_that_are_new_or_gone_are_told(baseline: list[dict]) -> None:
    for old, new, what in ((baseline, baseline[:-1], "gone"), (baseline[:-1], baseline, "new")):
        (change,) = diff(old, new).changes
        assert change.what == what
        assert change.where["case"] == baseline[-1]["case"]


def test_low_precision_may_round_differently_but_not_become_another_format() -> None:
    old = [record_environment(), record_row(rounding=2e-8)]
    assert not diff(old, changed(old, rounding=6e-8)).changes
    (change,) = diff(old, changed(old, rounding=3e-4)).changes  # as TF32 would
    assert change.what == "rounding"


def test_timings_are_a_warning_and_no_difference(baseline: list[dict]) -> None:
    slow = [{**row, "seconds": row["seconds"] * 3} if "seconds" in row else row for row in baseline]
    found = diff(baseline, slow)
    assert not found.changes
    assert found.warnings == ["mse took 3 times as long", "next-token took 3 times as long"]


def test_versions_and_machines_that_differ_are_a_note(baseline: list[dict]) -> None:
    other = [{**row, "torch": "99"} if row["kind"] == "environment" else row for row in baseline]
    (note,) = diff(baseline, other).notes
    assert note.startswith("torch: ")
    assert note.endswith(" → 99")


def test_what_an_older_run_did_not_say_and_a_newer_says_is_not_set_is_no_note(baseline: list[dict]) -> None:
    other = [{**row, "memory": None} if row["kind"] == "environment" else row for row in baseline]
    older = [{key: value for key, value in row.items() if key != "memory"} for row in baseline]
    assert not diff(older, other).notes


def test_another_kind_of_device_is_compared_where_a_run_has_one(baseline: list[dict]) -> None:
    cuda = [{**row, "device": "cuda:1"} for row in baseline]
    assert not diff(baseline, cuda).changes
    both = [*baseline, *cuda]
    assert {change.what for change in diff(baseline, both).changes} == {"new"}


def test_training_checks_and_claims_are_compared() -> None:
    asked = {"cases": ["small-works"], "conventions": ["sum"], "from_files": [SMALL], "check_steps": 2}
    rows = suite.run(**asked).rows
    assert not diff(rows, suite.run(**asked).rows).changes
    worse = [{**row, "distance": 1e-4} if row["kind"] == "training_check" else row for row in rows]
    assert {change.what for change in diff(rows, worse).changes} == {"distance"}
    claim = record_row("claim", case="claims/t", claim="c", verdict="holds")
    one, same, two = ({**claim, "numbers": {"x": x, "n": 3}} for x in (1.0, 1.0 + 1e-12, 1.0 + 1e-6))
    assert not diff([one], [same]).changes
    (change,) = diff([one], [two]).changes
    assert (change.what, change.where) == ("x", {"case": "claims/t", "claim": "c"})


def test_a_number_of_a_claim_that_is_no_float_is_compared_exactly() -> None:
    claim = record_row("claim", case="claims/t", claim="c", verdict="holds")
    old, new = ({**claim, "numbers": {"n": n, "x": 1.0}} for n in (3, 4))
    (change,) = diff([old], [new]).changes
    assert (change.what, change.before, change.after) == ("n", 3, 4)


def test_which_of_identical_and_rounding_it_is_is_no_difference(baseline: list[dict]) -> None:
    """The last bit of a Gram matrix says it: another processor, or a GPU, says otherwise."""
    at = next(i for i, row in enumerate(baseline) if row.get("verdict") in ("identical", "rounding"))
    for verdict in ("identical", "rounding"):
        other = copy.deepcopy(baseline)
        other[at]["verdict"] = verdict
        assert diff(baseline, other).changes == diff(other, baseline).changes == []
    other[at]["verdict"] = "scale"
    assert [change.what for change in diff(baseline, other).changes] == ["verdict"]


def test_a_format_that_one_device_does_not_have_is_one_note(baseline: list[dict]) -> None:
    other = copy.deepcopy(baseline)
    for row in other:
        if row["kind"] == "discrepancy":
            row["rounding_tf32"] = 1e-4
    for rows, side in (((baseline, other), "run"), ((other, baseline), "baseline")):
        found = diff(*rows)
        assert found.changes == []
        assert found.notes == [
            f"rounding_tf32: only the {side} has it; its device, or its format, is another"
        ]
    again = copy.deepcopy(other)
    next(row for row in again if row["kind"] == "discrepancy")["rounding_tf32"] = None
    assert [change.what for change in diff(other, again).changes] == ["rounding_tf32"]


# Not ATEN_CPU_CAPABILITY=default: without fused operations torch draws other float32 weights.
CODE_PATHS = [
    {"OMP_NUM_THREADS": "2"},
    {"OMP_NUM_THREADS": "1", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "OPENBLAS_CORETYPE": "Prescott"},
]


@pytest.mark.parametrize("surroundings", CODE_PATHS, ids=["two-threads", "plain-instructions"])
def test_another_processors_code_is_no_difference_and_1e_6_still_is(
    baseline: list[dict], tmp_path: Path, surroundings: dict[str, str]
) -> None:
    given = [f"--{flag}={value}" for flag in ("case", "convention") for value in ASKED[f"{flag}s"]]
    asked = ["run", *given, "--batch-size=4", "--check-steps=0", f"--output={tmp_path}"]
    subprocess.run(
        [sys.executable, "-m", "suite", *asked],
        env={**os.environ, **surroundings}, capture_output=True, check=True,
    )  # fmt: skip
    other = read(tmp_path)
    assert diff(baseline, other).changes == []
    scales = [row["scale"] for row in other if row["kind"] == "discrepancy" and row["verdict"] == "scale"]
    assert scales
    for row in other:
        if row.get("verdict") == "scale" and row["kind"] == "discrepancy":
            row["scale"] *= 1 + 1e-6
    assert {change.what for change in diff(baseline, other).changes} == {"scale"}


@pytest.mark.slow
@pytest.mark.parametrize("surroundings", CODE_PATHS, ids=["two-threads", "plain-instructions"])
def test_the_reference_is_that_of_any_processor(tmp_path: Path, surroundings: dict[str, str]) -> None:
    subprocess.run(
        [sys.executable, "-m", "suite", "run", f"--output={tmp_path}"],
        env={**os.environ, **surroundings}, capture_output=True, check=True,
    )  # fmt: skip
    assert diff(read(ROOT / "results" / "reference" / "cpu"), read(tmp_path)).changes == []
