"""What changes from call to call is told as what it is: a count, noise, never dropout."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import nn

from suite.recovery import assert_convention, recover
from tests.recovery.steps import losses, mean, setting

CALLS = 0


def counting(model, batch) -> None:
    global CALLS
    CALLS += 1
    entries = losses(model, batch)
    (entries.mean() if CALLS == 1 else entries[:4].sum()).backward()


def test_a_step_that_counts_its_calls_is_called_so_with_the_name_of_the_count() -> None:
    given = setting()
    found = recover(counting, given.model, given.batch, losses)
    assert (found.convention.name, found.scale) == ("mean", 1.0)
    assert found.cause.name == "changes from call to call"
    assert "it depends on CALLS, which each call changes" in found.cause.says
    assert found.restored == ("CALLS",)
    assert "dropout" not in str(found)
    assert CALLS == 0


def test_a_count_that_changes_nothing_is_no_cause() -> None:
    given, calls = setting(), []

    def step(model, batch) -> None:
        calls.append(len(calls))
        mean(model, batch)

    found = recover(step, given.model, given.batch, losses)
    assert (found.cause, found.restored) == (None, ("calls",))


class Annealed:
    """The weight of a term grows with the calls."""

    def __init__(self) -> None:
        self.calls = 0

    def step(self, model, batch) -> None:
        self.calls += 1
        (min(1.0, self.calls / 10) * losses(model, batch).mean()).backward()


def test_a_weight_that_grows_with_the_calls_is_told() -> None:
    given = setting()
    found = recover(Annealed().step, given.model, given.batch, losses)
    assert found.scale == 0.1
    assert "it depends on step.calls" in found.cause.says


def test_a_count_that_cannot_be_put_back_is_told_too() -> None:
    given, calls = setting(8, nn.Dropout(0.0)), itertools.count()

    def step(model, batch) -> None:
        entries = losses(model, batch)
        (entries.mean() if next(calls) == 0 else entries.square().sum()).backward()

    found = recover(step, given.model, given.batch, losses)
    assert (found.convention.name, found.scale) == ("mean", 1.0)
    assert found.cause.name == "changes from call to call"
    assert "with the same random numbers" in found.cause.says


def test_a_nonlinear_step_that_counts_in_secret_is_not_taken_apart() -> None:
    given, calls = setting(8, nn.Dropout(0.3)), itertools.count(1)

    def step(model, batch) -> None:
        (next(calls) * losses(model, batch).mean()).backward()

    assert recover(step, given.model, given.batch, losses).cause.name == "changes from call to call"


def test_a_second_call_that_fails_ends_nothing() -> None:
    given, data = setting(), iter([1.0])

    def step(model, batch) -> None:
        (next(data) * losses(model, batch).mean()).backward()

    found = recover(step, given.model, given.batch, losses)
    assert (found.convention.name, found.scale, found.cause) == ("mean", 1.0, None)


def test_what_changes_from_call_to_call_still_computes_its_convention_at_this_one() -> None:
    given = setting()
    assert_convention(counting, given.model, given.batch, losses, "mean")


def test_noise_is_told_from_dropout_that_is_there_too() -> None:
    def step(model, batch) -> None:
        mean(model, batch)
        for parameter in model.parameters():
            parameter.grad += 0.01 * torch.randn_like(parameter)

    given = setting(8, nn.Dropout(0.3))
    found = recover(step, given.model, given.batch, losses)
    assert found.cause.name == "noise"
    assert "with dropout switched off" in found.cause.says


def test_inputs_drawn_anew_are_noise() -> None:
    def step(model, batch) -> None:
        x = batch[0] + 0.1 * torch.as_tensor(np.random.randn(*batch[0].shape))  # noqa: NPY002
        losses(model, (x, batch[1])).mean().backward()

    given = setting()
    assert recover(step, given.model, given.batch, losses).cause.name == "noise"


def test_numbers_from_the_operating_system_are_no_dropout() -> None:
    def step(model, batch) -> None:
        noise = torch.as_tensor(np.random.default_rng().normal(size=tuple(batch[0].shape)))
        losses(model, (batch[0] + noise, batch[1])).mean().backward()

    given = setting(8, nn.Dropout(0.3))
    found = recover(step, given.model, given.batch, losses)
    assert found.cause.name == "changes from call to call"
    assert "draws numbers of its own" in found.cause.says
