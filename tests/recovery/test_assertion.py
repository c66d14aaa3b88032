"""`assert_convention` passes in silence, or says what the step is and what to change."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from suite.algebra.units import Units
from suite.errors import UsageError
from suite.recovery import assert_convention
from tests.recovery.steps import losses, mean, setting, weighted

GIVEN = setting(8)


def check(step, name="mean", **options) -> None:
    assert_convention(step, GIVEN.model, GIVEN.batch, losses, name, **options)


def failure(step, name="mean", **options) -> str:
    with pytest.raises(AssertionError) as error:
        check(step, name, **options)
    return str(error.value)


def test_the_right_convention_passes() -> None:
    check(mean)
    check(weighted([1.0] * 8), "sum")
    check(mean, "batchmean")


def test_a_sum_is_told_from_a_mean_with_the_hyperparameters_to_change() -> None:
    said = failure(weighted([1.0] * 8))
    assert "the step does not compute 'mean'" in said
    assert "those of sum" in said
    assert "SGD: lr × 0.125, weight_decay × 8" in said
    assert "Adam: eps × 8, weight_decay × 8" in said
    assert "clip threshold: × 8" in said


def test_the_optimizer_in_use_gets_its_own_numbers() -> None:
    optimizer = torch.optim.SGD(GIVEN.model.parameters(), lr=0.5, momentum=0.9, weight_decay=0.25)
    said = failure(weighted([1.0] * 8), optimizer=optimizer)
    assert "lr 0.5 → 0.0625" in said
    assert "weight_decay 0.25 → 2.0" in said


def test_another_direction_cannot_be_made_up_for() -> None:
    said = failure(weighted([0.0, 0.25, *[0.125] * 6]))
    assert "fault:kept-as-views" in said
    assert "no hyperparameter makes up for that" in said
    assert "2/n" in said


def test_a_wrong_sign_is_named() -> None:
    assert "its sign is wrong" in failure(weighted([-0.125] * 8))


def test_clipping_cannot_be_made_up_for_on_every_batch() -> None:
    def step(model, batch):
        mean(model, batch)
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)

    assert "No learning rate makes up for it on every batch" in failure(step)


def test_an_unknown_convention_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="did you mean 'mean'"):
        check(mean, "meen")


def test_a_convention_without_its_column_says_what_is_missing() -> None:
    with pytest.raises(UsageError, match=r"there is no accumulation.*units="):
        check(mean, "mean-of-microbatch-means")


def test_a_convention_whose_gradient_is_zero_has_no_multiple() -> None:
    units = Units.of(8, {"weight": 0.0})
    assert "The gradient of 'weighted-mean' is zero on this batch." in failure(
        mean, "weighted-mean", units=units
    )


def test_a_gradient_of_zero_is_no_multiple_of_anything() -> None:
    assert "another direction" in failure(weighted([0.0] * 8))
