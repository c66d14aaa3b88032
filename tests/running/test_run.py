"""The main job, as a Python call."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pandas as pd
import pytest
import torch

import suite
from suite.errors import UsageError
from suite.records.fields import csv_columns

BROKEN = Path(__file__).parents[1] / "broken_cases.py"


@pytest.fixture(scope="module")
def report() -> suite.RunResult:
    names = ["mse-several-outputs", "cross-entropy-class-weights", "next-token", "cross-entropy-l2"]
    return suite.run(names, batch_sizes=[8, 32], check_steps=0)


def pick(frame: pd.DataFrame, **where: object) -> pd.DataFrame:
    for column, value in where.items():
        frame = frame[frame[column] == value]
    assert len(frame), where
    return frame


def test_sum_against_mean_is_scale_n_and_the_learning_rate_1_over_n(report: suite.RunResult) -> None:
    found = pick(report.discrepancies, case="mse-several-outputs", convention="sum")
    assert set(found.verdict) <= {"scale", "identical"}  # identical on a ragged batch of one
    assert (found.scale == found.samples).all()
    assert set(found.scale_is) == {"n"}
    rates = pick(report.learning_rates, case="mse-several-outputs", convention="sum", hyperparameter="lr")
    assert set(rates.status) == {"exact"}
    assert (rates.factor == 1 / rates.samples).all()


def test_the_element_mean_of_ten_outputs_is_a_tenth(report: suite.RunResult) -> None:
    found = pick(report.discrepancies, case="mse-several-outputs", convention="element-mean")
    assert set(found.verdict) == {"scale"}
    assert found.scale.to_numpy() == pytest.approx(0.1, rel=1e-15)
    assert set(found.scale_is) == {"1/d"}


def test_mean_of_means_against_token_mean_is_direction_without_a_learning_rate(
    report: suite.RunResult,
) -> None:
    pair = {"convention": "mean-of-sequence-means", "reference": "token-mean"}
    assert set(pick(report.discrepancies, **pair).verdict) == {"direction"}
    rates = pick(report.learning_rates, **pair)
    assert set(rates.status) == {"impossible"}
    assert rates.factor.isna().all()
    assert rates.reason.str.contains("lies in another direction").all()


def test_three_frameworks_weights_differ_in_scale_from_batch_to_batch(report: suite.RunResult) -> None:
    for name in ("weighted-sum", "sum-over-batch-size", "sum-by-nonzero-weights"):
        pair = {"convention": name, "reference": "weighted-mean", "samples": 32}
        found = pick(report.discrepancies, **pair)
        assert set(found.verdict) == {"scale"}
        assert found.scale.nunique() == len(found) > 1
        assert set(pick(report.learning_rates, **pair).status) == {"varies"}


def test_clipping_each_unit_is_direction(report: suite.RunResult) -> None:
    found = pick(report.discrepancies, convention="clip-each-unit", reference="clip-mean", samples=32)
    assert set(found.verdict) == {"direction"}


def test_clip_then_divide_is_divide_then_clip_at_c_over_n(report: suite.RunResult) -> None:
    pair = {"convention": "clip-sum-then-divide", "reference": "clip-mean-at-c-over-n"}
    found = pick(report.discrepancies, **pair)
    without = found[found.case != "cross-entropy-l2"]
    assert set(without.verdict) <= {"identical", "rounding"}
    # It was clipped: neither is the mean.
    against_mean = pick(report.discrepancies, convention="clip-sum-then-divide", reference="mean")
    assert (against_mean.relative_discrepancy > 0.01).all()


def test_a_regulariser_that_is_not_scaled_is_named_with_the_remedy(report: suite.RunResult) -> None:
    found = pick(report.discrepancies, case="cross-entropy-l2", convention="sum", samples=32)
    assert set(found.verdict) == {"direction"}
    assert found.reason.str.contains("multiply the regulariser by 32").all()


def test_rounding_is_that_of_the_dtype_where_loops_are_proportional(report: suite.RunResult) -> None:
    found = pick(report.discrepancies, verdict="scale")
    assert found.rounding.between(0, 1e-5).all()
    assert found.rounding_bfloat16.max() > 1e-4
    assert pick(report.discrepancies, verdict="direction").rounding.isna().all()


def test_every_convention_agreed_with_its_loop(report: suite.RunResult) -> None:
    assert report.discrepancies.protocol_error.max() < 1e-12


def test_frames_have_the_columns_that_were_promised(report: suite.RunResult) -> None:
    promised = [
        "case", "batch_size", "batch", "convention", "reference", "engine", "device", "dtype", "scale",
        "cosine", "relative_discrepancy", "residual", "max_abs", "rounding", "verdict",
    ]  # fmt: skip
    assert set(promised) <= set(report.discrepancies.columns) <= set(csv_columns("discrepancies"))
    promised = ["case", "batch_size", "convention", "reference", "optimizer", "hyperparameter", "factor",
                "status"]  # fmt: skip
    assert set(promised) <= set(report.learning_rates.columns) == set(csv_columns("learning_rates"))


def test_what_does_not_apply_is_left_out_with_its_reason(report: suite.RunResult) -> None:
    found = pick(report.omitted, case="mse-several-outputs", convention="token-mean")
    assert set(found.reason) == {"there is no padding and no ignored target"}


def test_numbers_are_finite_or_explained(report: suite.RunResult) -> None:
    rows = report.of("discrepancy")
    assert rows
    for row in rows:
        for name in ("scale", "cosine", "relative_discrepancy"):
            assert row["reason"] if row[name] is None else math.isfinite(row[name])


def test_two_runs_of_a_seed_are_the_same(tmp_path: Path) -> None:
    first, second = (suite.run(["mse"], ["*mean*"], batch_sizes=[8], seed=3).discrepancies for _ in "ab")
    pd.testing.assert_frame_equal(first.drop(columns="seconds"), second.drop(columns="seconds"))
    other = suite.run(["mse"], ["*mean*"], batch_sizes=[8], seed=4).discrepancies
    assert not first.max_abs.equals(other.max_abs)


def test_the_folder_holds_records_and_both_tables_three_times(tmp_path: Path) -> None:
    report = suite.run(["mse"], ["sum", "half-*"], batch_sizes=[8], output=tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    tables = {f"{t}.{end}" for t in ("discrepancies", "learning_rates") for end in ("csv", "md", "tex")}
    assert names == tables | {"records.jsonl", ".lock"}
    rows = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert {row["kind"] for row in rows} == {"environment", "discrepancy", "noise", "training_check", "done"}
    assert all(row["schema"] == 2 for row in rows)
    assert rows[0]["torch"] == torch.__version__.split("+")[0] or rows[0]["torch"] == torch.__version__
    with (tmp_path / "discrepancies.csv").open() as file:
        saved = [float(row["scale"]) for row in csv.DictReader(file)]
    assert saved == list(report.discrepancies.scale)
    assert "\\toprule" in (tmp_path / "discrepancies.tex").read_text()
    assert (tmp_path / "learning_rates.md").read_text().count("|") > 10


def test_another_reference_is_compared_with() -> None:
    found = suite.run(["mse"], ["mean", "sum"], batch_sizes=[8], reference="sum").discrepancies
    assert set(found.reference) == {"sum"}
    assert pick(found, convention="mean", samples=8).scale.to_numpy() == pytest.approx(1 / 8)


def test_a_reference_that_does_not_apply_fails_the_case_with_the_reason() -> None:
    report = suite.run(["mse"], ["sum"], batch_sizes=[8], reference="weighted-mean")
    assert "there are no sample or class weights" in report.failures[0]["reason"]


@pytest.mark.parametrize("engine", ["opacus", "torch-func", "loop"])
def test_every_engine_runs_the_main_job(engine: str) -> None:
    found = suite.run(["mse"], ["sum"], batch_sizes=[8], engine=engine).discrepancies
    assert set(found.engine) == {engine}


def test_a_refused_engine_is_visible_in_every_row() -> None:
    report = suite.run(["channels-last-convolution"], ["sum"])
    assert set(report.discrepancies.engine) == {"streaming"}
    assert report.discrepancies.refused.str.contains("opacus is wrong for").all()
    assert any(line.startswith("Engine opacus was refused for channels-last") for line in report.remarks)


def test_cases_that_fail_are_reported_and_the_others_are_measured(tmp_path: Path) -> None:
    before = torch.get_default_dtype(), torch.is_grad_enabled()
    report = suite.run(["outside-*"], ["sum", "mean"], from_files=[BROKEN], output=tmp_path)
    assert (torch.get_default_dtype(), torch.is_grad_enabled()) == before
    reasons = {row["case"]: row["reason"] for row in report.failures}
    assert reasons["outside-raises"] == "FileNotFoundError: data.csv is missing (broken_cases.py:30)"
    assert reasons["outside-nan"] == "4 of the 4 losses are nan or infinite, the first that of sample 0"
    assert "it must be unreduced" in reasons["outside-averages"]
    assert "a sample alone in its batch fails (BatchNorm in train mode?)" in reasons["outside-batchnorm"]
    assert set(report.discrepancies.case) >= {"outside-works"}
    assert all("\n" not in reason for reason in reasons.values())
    on_disk = (tmp_path / "records.jsonl").read_text()
    assert on_disk.count('"kind": "failure"') == len(report.failures)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"cases": ["mze"]}, "no case is named 'mze': did you mean 'mse'"),
        ({"conventions": ["mean-of"]}, "no convention is named 'mean-of'"),
        ({"reference": "avg"}, "no convention is named 'avg'"),
        ({"engine": "opacuss"}, "did you mean 'opacus'"),
        ({"batch_sizes": [0]}, "batch sizes must be 1 or more, 0 was given"),
        ({"cases": ["mse"], "batch_sizes": [1000]}, "it has 442 samples"),
        ({"seed": -1}, "the seed must be"),
        ({"dtype": "double"}, "no dtype is named 'double'"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_written(tmp_path: Path, wrong: dict, said: str) -> None:
    with pytest.raises(UsageError) as error:
        suite.run(**wrong, output=tmp_path / "run")
    assert said in str(error.value)
    assert not (tmp_path / "run").exists()


def test_an_interrupted_run_keeps_the_tables_of_what_it_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from suite.running import run as runner
    from suite.running import worker

    calls = []

    def stop(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return original(*arguments)

    original = worker.measure
    monkeypatch.setattr(worker, "measure", stop)
    with pytest.raises(KeyboardInterrupt):
        runner.run(["mse"], ["sum"], batch_sizes=[8], output=tmp_path)
    assert len(pd.read_csv(tmp_path / "discrepancies.csv")) == 1


def test_a_loss_that_changes_with_its_batch_is_refused(tmp_path: Path) -> None:
    (tmp_path / "coupled.py").write_text(
        "import torch\n"
        "from suite.case import Problem, case\n"
        "@case(dataset='random numbers', batch_sizes=(4,))\n"
        "def coupled_of_tests():\n"
        "    return Problem(lambda: torch.nn.Linear(3, 1), (torch.randn(8, 3),),\n"
        "                   lambda m, b: m(b[0]).square().sum(1) * len(b[0]))\n"
    )
    found = suite.run(["coupled-of-tests"], ["sum"], from_files=[tmp_path / "coupled.py"], check_steps=0)
    assert "the loss of a sample changes when it is alone in its batch" in found.failures[0]["reason"]


def test_a_negative_number_of_steps_is_refused() -> None:
    with pytest.raises(UsageError, match="a training check takes 0 steps or more, -1 was given"):
        suite.run(["mse"], ["sum"], check_steps=-1)


def test_an_interrupt_of_a_run_without_a_folder_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("suite.running.driver.Driver.go", interrupt)
    with pytest.raises(KeyboardInterrupt):
        suite.run(["mse"], ["sum"], check_steps=0)


def test_a_disk_that_refuses_a_record_gets_no_tables_either(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise UsageError("the disk is full")

    monkeypatch.setattr("suite.records.writer.Recorder.write", refuse)
    with pytest.raises(UsageError, match="the disk is full"):
        suite.run(["mse"], ["sum"], batch_sizes=[2], check_steps=0, output=tmp_path)
    assert not list(tmp_path.glob("*.csv"))


def test_tables_that_cannot_be_written_leave_the_records(tmp_path: Path) -> None:
    (tmp_path / "discrepancies.csv").mkdir()
    with pytest.raises(UsageError, match=r"cannot write tables to .*: the records are kept there"):
        suite.run(["mse"], ["sum"], batch_sizes=[2], check_steps=0, output=tmp_path)
    assert (tmp_path / "records.jsonl").stat().st_size


WIDE = Path(__file__).parents[1] / "wide_case.py"


@pytest.fixture(scope="module")
def wide() -> suite.RunResult:
    names = ["sum", "element-mean", "mean-of-microbatch-means", "weighted-mean"]
    return suite.run(["wide-*"], names, from_files=[WIDE], check_steps=0)


def test_where_wide_losses_state_no_elements_what_divides_by_them_is_left_out(wide: suite.RunResult) -> None:
    left_out = pick(wide.omitted, case="wide-unstated").set_index("convention").reason
    reason = "the case does not state elements, though its losses have 5 values a sample"
    assert set(left_out[["element-mean", "mean-of-microbatch-means"]]) == {reason}
    assert "weights" in left_out["weighted-mean"].iloc[0]
    assert set(pick(wide.discrepancies, case="wide-unstated").convention) == {"sum"}
    (warning,) = [line for line in wide.remarks if line.startswith("Warning")]
    assert warning.startswith(f"Warning: wide-unstated: what divides by elements is left out: {reason}.")


def test_stated_elements_are_believed(wide: suite.RunResult) -> None:
    of_five = pick(wide.discrepancies, case="wide-of-five", convention="element-mean", reference="mean")
    of_one = pick(wide.discrepancies, case="wide-of-one", convention="element-mean", reference="mean")
    assert (set(of_five.scale), set(of_one.verdict)) == ({0.2}, {"identical"})


def test_a_reference_that_divides_by_elements_nobody_stated_does_not_apply() -> None:
    report = suite.run(["wide-unstated"], ["sum"], reference="element-mean", from_files=[WIDE], check_steps=0)
    assert "'element-mean' does not apply: the case does not state elements" in report.failures[0]["reason"]
