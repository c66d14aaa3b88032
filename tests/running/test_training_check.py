"""Equivalent hyperparameters, trained on real cases by a run."""

from __future__ import annotations

import pytest
import torch

import suite
from cases import cases
from suite.algebra.units import Units
from suite.conventions import conventions
from suite.errors import UsageError
from suite.report.run_result import RunResult
from suite.running.plan import training
from suite.running.training_check import TrainedWeights, _each
from suite.strategies import Example


@pytest.fixture(scope="module")
def report() -> RunResult:
    names = ["mse-several-outputs", "cross-entropy-class-weights"]
    wanted = ["sum", "element-mean", "weighted-sum", "clip-mean", "sum-of-microbatch-means"]
    return suite.run(names, wanted, batch_sizes=[8], check_steps=10)


def check(report: RunResult, convention: str, optimizer: str = "SGD", reference: str = "mean") -> dict:
    rows = [r for r in report.of("training_check") if (r["convention"], r["optimizer"], r["reference"])
            == (convention, optimizer, reference)]  # fmt: skip
    assert rows
    return rows[0]


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_a_scale_that_is_a_power_of_two_trains_bit_for_bit(report: RunResult, optimizer: str) -> None:
    found = check(report, "sum", optimizer)
    assert found["distance"] == 0.0
    assert found["distance_unchanged"] > 1e-4
    assert found["steps"] == 10


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_another_scale_trains_to_rounding(report: RunResult, optimizer: str) -> None:
    found = check(report, "element-mean", optimizer)
    assert 0 < found["distance"] < 1e-13
    assert found["distance_unchanged"] > 1e-4


def test_where_the_scale_varies_the_rate_of_each_step_does_what_no_constant_does(report: RunResult) -> None:
    found = check(report, "weighted-sum", reference="weighted-mean")
    assert found["distance_per_step"] < 1e-13
    assert found["distance_best_constant"] > 1e-5


def test_a_scale_that_comes_of_the_weights_themselves_is_not_promised(report: RunResult) -> None:
    assert not [row for row in report.of("training_check") if row["convention"] == "clip-mean"]


def test_checks_are_joined_to_every_hyperparameter_of_their_optimizer(report: RunResult) -> None:
    rates = report.learning_rates
    adam = rates[(rates.convention == "sum") & (rates.optimizer == "Adam") & (rates.samples == 8)]
    assert set(adam.hyperparameter) == {"eps", "weight_decay"}
    assert set(adam.factor) == {8.0}
    assert set(adam.distance) == {0.0}
    assert any(line.startswith("Checked by training") for line in report.remarks)


def test_steps_go_through_full_batches_epoch_after_epoch() -> None:
    found = training(cases["mse"].build(), 128, seed=0, steps=5)  # 442 samples: three full batches
    assert torch.equal(found[0].rows, found[3].rows)
    assert not torch.equal(found[0].rows, found[1].rows)
    assert all(len(cell.rows) == 128 for cell in found)


@pytest.mark.parametrize(("most", "kept"), [(1 << 24, True), (0, False)])
def test_trained_weights_are_kept_up_to_a_number(
    monkeypatch: pytest.MonkeyPatch, most: int, kept: bool
) -> None:
    monkeypatch.setattr("suite.running.training_check.KEPT_NUMBERS", most)
    loop = Example.of(Units.of(2), [[1.0], [2.0]]).loop
    asked = loop.model, [loop, loop], conventions["mean"], "SGD", {"lr": 0.1}
    trained = TrainedWeights()
    first, second = trained.weights(*asked), trained.weights(*asked)
    assert (first is second) == kept
    assert all(map(torch.equal, first, second))


def test_every_step_of_a_check_is_recorded(report: RunResult) -> None:
    same, each = check(report, "element-mean"), check(report, "weighted-sum", reference="weighted-mean")
    for row, names in ((same, ("distance", "distance_unchanged")),
                       (each, ("distance_best_constant", "distance_per_step"))):  # fmt: skip
        for name in names:
            steps = row[f"{name}_by_step"]
            assert len(steps) == row["steps"]
            assert max(steps) == row[name]


def test_a_training_that_cannot_be_checked_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(*_: object, **__: object) -> None:
        raise UsageError("the reference diverges")

    monkeypatch.setattr("suite.running.training_check.check_training", diverge)
    found = suite.run(["mse"], ["sum"], batch_sizes=[8], check_steps=2).of("training_check")
    assert found
    assert {row["check_reason"] for row in found} == {"the reference diverges"}


def test_a_batch_without_weight_has_no_scale() -> None:
    loop = Example.of(Units.of(2, {"weight": 0.0}), [[1.0], [2.0]]).loop
    pair = conventions["weighted-sum"], conventions["weighted-mean"]
    assert _each(loop.model, [loop], pair, TrainedWeights()) == {
        "check_reason": "a batch has no weight at all: it has no scale"
    }
