from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any, get_args

import pytest
import torch

from suite.equivalence.equivalent import Clip, equivalent
from suite.equivalence.scales import scale_between
from suite.equivalence.trajectory import check_training, clip_gradient
from suite.errors import UsageError
from tests.equivalence.problems import network, squares

THIRTY_SECOND = 1 / 32  # from the sum to the mean over 32 samples


def new(optimizer: str, scale: Any = THIRTY_SECOND, **hyperparameters: Any) -> dict[str, Any]:
    return equivalent(optimizer, hyperparameters, scale=scale).hyperparameters


def test_from_sum_to_mean_sgd_takes_n_times_the_rate():
    assert new("SGD", lr=0.01, momentum=0.9) == {"lr": 0.32, "momentum": 0.9}


def test_coupled_weight_decay_moves_against_the_rate():
    assert new("SGD", lr=0.01, weight_decay=0.32) == {"lr": 0.32, "weight_decay": 0.01}


def test_adam_keeps_its_rate_and_scales_an_eps_that_nobody_set():
    assert new("Adam", lr=1e-3) == {"lr": 1e-3, "eps": 1e-8 / 32}


def test_decay_that_is_decoupled_stays():
    assert new("AdamW", weight_decay=0.1)["weight_decay"] == 0.1
    assert new("Adam", weight_decay=0.1, decoupled_weight_decay=True)["weight_decay"] == 0.1
    assert new("Adam", weight_decay=0.32)["weight_decay"] == 0.01


def test_the_port_of_dqn_followed_the_law_of_the_square_inside_the_root():
    # Dopamine's 1e-5 is DeepMind's 0.01 / 32², for an eps inside the root, as Adadelta has it.
    assert new("Adadelta", eps=0.01)["eps"] == pytest.approx(1e-5, rel=0.03)


def test_a_default_that_changes_is_listed_with_what_was_given():
    result = equivalent("Adagrad", {"initial_accumulator_value": 0.1}, scale=2)
    assert {c.name: (c.old, c.new, c.exponent) for c in result.changes} == {
        "initial_accumulator_value": (0.1, 0.4, 2),
        "eps": (1e-10, 2e-10, 1),
    }
    assert result.given == {"initial_accumulator_value": 0.1}


def test_a_scale_of_one_changes_nothing():
    for name in ("SGD", "Adam", "Adafactor", "RAdam", "LBFGS", "Muon"):
        result = equivalent(name, {"lr": 0.1}, scale=1)
        assert (result.hyperparameters, result.exact) == ({"lr": 0.1}, True)


def test_a_fraction_gives_the_numbers_that_people_expect():
    assert new("SGD", Fraction(1, 10), lr=0.01) == {"lr": 0.1}


def test_an_optimizer_may_be_given_by_its_class():
    assert equivalent(torch.optim.SGD, {"lr": 1.0}, scale=2) == equivalent("SGD", {"lr": 1.0}, scale=2)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Adafactor", "RAdam", "LBFGS", "ASGD"])
def test_the_line_to_paste_runs(name):
    result = equivalent(name, {"lr": 0.1}, scale=THIRTY_SECOND, max_norm=1.0)
    model = network(0)
    model(torch.ones(1, 3, dtype=torch.float64)).sum().backward()
    construction, clipping = result.python.splitlines()
    scope = {"torch": torch, "model": model}
    optimizer = eval(construction, scope)  # noqa: S307  the text is our own
    eval(clipping, scope)  # noqa: S307  the text is our own
    group = optimizer.param_groups[0]
    assert {k: group[k] for k in result.hyperparameters} == result.hyperparameters


def test_a_threshold_goes_with_the_gradient_and_torchs_clipping_is_called_inexact():
    result = equivalent("SGD", {}, scale=THIRTY_SECOND, max_norm=32.0)
    assert (result.given_max_norm, result.max_norm, result.exact) == (32.0, 1.0, False)
    assert "‖g‖ + 1e-6" in result.reason
    assert equivalent("SGD", {}, scale=THIRTY_SECOND, max_norm=32.0, clip="plain").exact


@pytest.mark.parametrize(
    ("threshold", "scale", "bound"),
    [(0.1, Fraction(1, 25), "0.00024"), (5.0, Fraction(2), "1e-07"), (0.3, Fraction(1, 3), "6.7e-06")],
)
def test_the_bound_of_torchs_clipping_is_rounded_up(threshold: float, scale: Fraction, bound: str) -> None:
    assert (
        f"off by at most {bound} of itself" in equivalent("SGD", {}, scale=scale, max_norm=threshold).reason
    )
    old, new = threshold / (threshold + 1e-6), threshold * scale / (threshold * scale + 1e-6)
    assert abs(new / old - 1) <= float(bound)


@pytest.mark.parametrize("clip", get_args(Clip))
def test_the_line_that_clips_is_what_a_training_check_does(clip):
    result = equivalent("SGD", {"lr": 0.1}, scale=0.25, max_norm=2.0, clip=clip)
    assert result.exact == (clip in ("plain", "value"))
    (line,) = result.clipping
    if clip == "plain":
        return  # which is no function of torch
    pasted, called = network(0), network(0)
    for model in (pasted, called):
        (9 * model(torch.ones(1, 3, dtype=torch.float64)).sum()).backward()
    optimizer = torch.optim.SGD(pasted.parameters())
    exec(line, {"torch": torch, "model": pasted, "optimizer": optimizer})  # noqa: S102  the text is our own
    clip_gradient(list(called.parameters()), 0.5, clip)
    pairs = zip(pasted.parameters(), called.parameters(), strict=True)
    assert all(torch.equal(a.grad, b.grad) for a, b in pairs)


@pytest.mark.parametrize("clip", ["norm", "tensor", "group"])
def test_a_threshold_of_each_tensor_goes_with_the_gradient_too(clip):
    result = equivalent("SGD", {"lr": 0.01}, scale=4.0, max_norm=0.5, clip=clip)
    assert check_training(network(0), squares(0), squares(0, 4.0), result, steps=20).converted < 1e-5
    kept = replace(result, max_norm=0.5)
    assert check_training(network(0), squares(0), squares(0, 4.0), kept, steps=20).converted > 1e-3


def test_radam_comes_with_a_schedule():
    result = equivalent("RAdam", {"lr": 0.1}, scale=0.5)
    assert not result.exact
    first, then = result.schedule
    assert (first.first, first.last, first.hyperparameters["lr"]) == (1, 5, 0.2)
    assert (then.first, then.last, then.hyperparameters["lr"]) == (6, None, 0.1)
    assert equivalent("RAdam", {"lr": 0.1}, scale=0.5, steps_done=5).exact


@pytest.mark.parametrize(
    ("optimizer", "hyperparameters", "message"),
    [
        ("SGD", {"lr": "fast"}, "SGD: lr is 'fast', it must be a finite number"),
        ("SGD", {"lr": None}, "lr is None, it must be a finite number"),
        ("SGD", {"lr": True}, "lr is True, it must be a finite number"),
        ("SGD", {"lr": math.nan}, "lr is nan, it must be a finite number"),
        ("SGD", {"lr": math.inf}, "lr is inf, it must be a finite number"),
        ("SGD", {"lr": -0.1}, "lr is -0.1, it must be not negative"),
        ("SGD", {"nesterov": 1}, "nesterov is 1, it must be True or False"),
        ("SGD", {"betas": (0.9, 0.999)}, "SGD has no hyperparameter 'betas'; it has lr, momentum"),
        ("Adam", {"betas": 0.9}, r"betas is 0.9, it must be 2 numbers"),
        ("Adam", {"betas": (0.9,)}, r"betas is \(0.9,\), it must be 2 numbers"),
        ("Adam", {"betas": (0.9, None)}, "it must be 2 numbers"),
    ],
)
def test_a_hyperparameter_that_cannot_be_gets_one_clear_line(optimizer, hyperparameters, message):
    with pytest.raises(UsageError, match=message) as error:
        equivalent(optimizer, hyperparameters, scale=2)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("max_norm", [0, -1.0, math.inf, math.nan, "1", True])
def test_an_impossible_threshold_is_refused(max_norm):
    with pytest.raises(UsageError, match=r"max_norm is .* greater than 0 is needed"):
        equivalent("SGD", {}, scale=2, max_norm=max_norm)


def test_what_scale_between_gives_is_taken_for_a_scale() -> None:
    given = {"lr": 1e-3, "weight_decay": 0.1}
    found = equivalent("Adam", given, scale=scale_between("sum", "mean", 32))
    assert found == equivalent("Adam", given, scale=Fraction(1, 32))


def test_an_assumption_of_sizes_comes_along_with_a_scale() -> None:
    found = equivalent(
        "SGD", {"lr": 1e-3}, scale=scale_between("sum", "mean-of-sequence-means", 32, elements=50)
    )
    assert found.hyperparameters["lr"] == pytest.approx(1e-3 * 32 * 50)
    assert not found.exact
    assert found.reason.startswith("only if every sample has 50 elements")
