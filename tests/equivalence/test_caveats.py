"""Where no constant law exists: the best candidate visibly fails, and the nearest thing holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from suite.equivalence.caveats import unrectified_steps
from suite.equivalence.equivalent import equivalent
from suite.equivalence.laws import LAWS
from suite.equivalence.trajectory import Backward, check_training, distance, trajectory
from suite.errors import UsageError
from suite.strategies.optimizers import rate
from tests.equivalence.problems import (
    LBFGS,
    OTHER_SCALES,
    POWERS_OF_TWO,
    bowl,
    examples,
    flat,
    network,
    squares,
)

SEEDS = st.integers(0, 2**16)
CANDIDATES = [k / 8 for k in range(-16, 17)]  # exponents from −2 to 2


def best(
    model: nn.Module,
    reference: Backward,
    other: Backward,
    name: str,
    given: dict[str, Any],
    candidate: Callable[[float], dict[str, Any]],
    steps: int = 20,
) -> float:
    """The smallest distance that any exponent in `candidate` reaches."""
    weights = list(trajectory(model, reference, name, given, steps=steps))
    return min(
        distance(weights, trajectory(model, other, name, candidate(exponent), steps=steps))
        for exponent in CANDIDATES
    )


# RAdam


def test_radam_has_no_constant_law() -> None:
    given = {"lr": 0.01, "eps": 1e-3}
    nearest = best(
        network(0),
        squares(0),
        squares(0, 8.0),
        "RAdam",
        given,
        lambda k: {"lr": 0.01 * 8.0**k, "eps": 8e-3},
    )
    assert nearest > 1e-3
    assert not equivalent("RAdam", given, scale=8.0).exact


RADAM = {
    "lr": rate(1e-3, 0.05),
    "betas": st.tuples(st.sampled_from([0.5, 0.9]), st.sampled_from([0.7, 0.9, 0.99, 0.999])),
    "eps": st.sampled_from([1e-8, 1e-2]),
    "weight_decay": st.sampled_from([0, 0.1]),
    "decoupled_weight_decay": st.booleans(),
    "foreach": st.sampled_from([None, True]),
}


@examples(10)
@given(hyper=st.fixed_dictionaries(RADAM), scale=POWERS_OF_TWO, seed=SEEDS)
def test_the_schedule_of_radam_is_exact_bit_for_bit(hyper: dict[str, Any], scale: float, seed: int) -> None:
    result = equivalent("RAdam", hyper, scale=scale)
    check = check_training(network(seed), squares(seed), squares(seed, scale), result, steps=30)
    assert (check.converted if scale == 1 else check.scheduled) == 0.0


@examples(5)
@given(hyper=st.fixed_dictionaries(RADAM), scale=OTHER_SCALES, seed=SEEDS)
def test_the_schedule_of_radam_holds_for_any_scale(hyper: dict[str, Any], scale: float, seed: int) -> None:
    hyper |= {"eps": 1e-2}
    result = equivalent("RAdam", hyper, scale=scale)
    check = check_training(network(seed), squares(seed), squares(seed, scale), result, steps=100)
    distance = check.converted if scale == 1 else check.scheduled
    assert distance is not None
    assert distance <= 1e-10


@examples(8)
@given(hyper=st.fixed_dictionaries(RADAM), beta2=rate(0.1, 2 / 3), scale=POWERS_OF_TWO, seed=SEEDS)
def test_radam_that_never_rectifies_has_a_constant_law(
    hyper: dict[str, Any], beta2: float, scale: float, seed: int
) -> None:
    result = equivalent("RAdam", hyper | {"betas": (0.9, beta2)}, scale=scale)
    assert result.exact
    check = check_training(network(seed), squares(seed), squares(seed, scale), result, steps=30)
    assert check.converted == 0.0


@pytest.mark.parametrize(("beta2", "steps"), [(0.999, 5), (0.99, 5), (0.9, 5), (0.6, float("inf"))])
def test_the_unrectified_steps_are_those_of_torch(beta2: float, steps: float) -> None:
    assert unrectified_steps(beta2) == steps
    # An unrectified step does not look at eps.
    paths = [
        list(trajectory(network(0), squares(0), "RAdam", {"betas": (0.9, beta2), "eps": eps}, steps=8))
        for eps in (1e-8, 1.0)
    ]
    same = [torch.equal(a, b) for a, b in zip(*paths, strict=True)]
    assert same == [step < steps for step in range(8)]


@pytest.mark.parametrize("beta2", [1.0, -0.1, 2.0])
def test_a_beta_that_torch_does_not_accept_is_refused(beta2: float) -> None:
    with pytest.raises(UsageError, match="it must be at least 0 and less than 1"):
        equivalent("RAdam", {"betas": (0.9, beta2)}, scale=2)


def test_some_step_of_radam_is_never_rectified() -> None:
    assert all(unrectified_steps(beta2) >= 1 for beta2 in (0.0, 0.5, 0.7, 0.9, 0.999, 0.999999))


# LBFGS


def test_lbfgs_has_no_constant_law_where_the_first_gradient_is_small() -> None:
    given = {"lr": 0.5, **LBFGS}
    nearest = best(
        network(0), bowl(1e-3), bowl(1e-3, 64.0), "LBFGS", given,
        lambda k: {"lr": 0.5 * 64.0**k, **LBFGS},
        steps=3,
    )  # fmt: skip
    assert nearest > 1e-3
    assert not equivalent("LBFGS", given, scale=64.0).exact


def test_the_tolerance_of_change_of_lbfgs_has_no_constant_law() -> None:
    given = {"lr": 0.5, "tolerance_grad": 0.0, "tolerance_change": 0.03}
    sides = bowl(0.1), bowl(0.1, 16.0)  # the first gradients are large enough: only this bound counts
    nearest = best(
        network(0), *sides, "LBFGS", given,
        lambda k: given | {"tolerance_change": 0.03 * 16.0**k},
        steps=1,
    )  # fmt: skip
    assert nearest > 1e-2
    without = equivalent("LBFGS", given | {"tolerance_change": 0, "max_iter": 6}, scale=16.0)
    assert check_training(network(0), *sides, without, steps=1).converted == 0.0


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
@pytest.mark.parametrize("scale", [0.25, 16.0, 3.0])
def test_lbfgs_follows_its_nearest_law_where_no_bound_is_reached(scale: float, search: str | None) -> None:
    given = {"lr": 0.5, **LBFGS, "tolerance_grad": 1e-30, "line_search_fn": search}
    result = equivalent("LBFGS", given, scale=scale)
    check = check_training(network(0), bowl(1e3), bowl(1e3, scale), result, steps=4)
    assert check.converted <= (1e-10 if scale == 3 else 0)


# Adafactor


def test_adafactor_has_no_constant_law_for_matrices_near_eps1() -> None:
    given = {"lr": 0.05, "eps": (1e-2, 1e-3)}
    nearest = best(
        network(0),
        squares(0, 0.02),
        squares(0, 0.02 * 0.04),
        "Adafactor",
        given,
        lambda k: {"lr": 0.05, "eps": (1e-2 * 0.04**k, 1e-3)},
    )
    assert nearest > 1e-3
    assert not equivalent("Adafactor", given, scale=0.04).exact


@examples(8)
@given(scale=POWERS_OF_TWO, seed=SEEDS)
def test_adafactor_is_exact_for_vectors_even_below_eps1(scale: float, seed: int) -> None:
    result = equivalent("Adafactor", {"lr": 0.05, "eps": (1e-2, 1e-3)}, scale=scale)
    model = nn.ParameterList([nn.Parameter(torch.full((4,), 0.3, dtype=torch.float64))])
    check = check_training(model, bowl(1e-3), bowl(1e-3, scale), result, steps=20)
    assert check.converted == 0.0
    assert scale == 1 or check.unchanged > 1e-6


def test_adafactor_makes_the_eps1_that_none_stands_for_explicit() -> None:
    result = equivalent("Adafactor", {}, scale=0.5)
    assert result.hyperparameters["eps"] == (0.5 * torch.finfo(torch.float32).eps, 1e-3)


# Muon

matrices = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
MUON = {
    "lr": rate(1e-3, 0.1),
    "weight_decay": st.sampled_from([0, 0.1]),
    "momentum": st.sampled_from([0.5, 0.95]),
    "nesterov": st.booleans(),
    "eps": st.sampled_from([1e-7, 10.0]),
    "ns_steps": st.integers(1, 5),
    "adjust_lr_fn": st.sampled_from([None, "original", "match_rms_adamw"]),
}


@matrices
@examples(10)
@given(hyper=st.fixed_dictionaries(MUON), scale=POWERS_OF_TWO, seed=SEEDS)
def test_muon_is_exact_bit_for_bit_for_powers_of_two(hyper: dict[str, Any], scale: float, seed: int) -> None:
    result = equivalent("Muon", hyper, scale=scale)
    assert result.exact
    check = check_training(flat(seed), squares(seed), squares(seed, scale), result, steps=20)
    assert check.converted == 0.0


@matrices
def test_muon_rounds_differently_for_other_scales() -> None:
    given = {"lr": 0.01}
    nearest = best(
        flat(0), squares(0), squares(0, 3.0), "Muon", given, lambda k: {"lr": 0.01, "eps": 1e-7 * 3**k}
    )
    assert 1e-6 < nearest < 1e-2
    assert not equivalent("Muon", given, scale=3.0).exact


# Clipping


@pytest.mark.parametrize("clip", ["plain", "value"])
@examples(5)
@given(scale=POWERS_OF_TWO, seed=SEEDS)
def test_a_clip_threshold_goes_with_the_scale(clip: Any, scale: float, seed: int) -> None:
    result = equivalent("SGD", {"lr": 0.1}, scale=scale, max_norm=0.5, clip=clip)
    assert result.exact
    check = check_training(network(seed), squares(seed), squares(seed, scale), result, steps=30)
    assert check.converted == 0.0


@pytest.mark.parametrize("clip", ["norm", "plain", "value"])
def test_a_clip_threshold_that_stays_leaves_the_trajectory(clip: Any) -> None:
    new = equivalent("SGD", {"lr": 0.1}, scale=1 / 8).hyperparameters
    weights = list(trajectory(network(0), squares(0), "SGD", {"lr": 0.1}, steps=30, max_norm=2.0))
    other = trajectory(network(0), squares(0, 1 / 8), "SGD", new, steps=30, max_norm=2.0, clip=clip)
    assert distance(weights, other) > 1e-2


def test_no_threshold_makes_up_for_the_1e_minus_6_in_torchs_clip_grad_norm() -> None:
    scale, given = 2.0**-10, {"lr": 0.1}
    result = equivalent("SGD", given, scale=scale, max_norm=0.5)
    assert not result.exact
    weights = list(trajectory(network(0), squares(0), "SGD", given, steps=30, max_norm=0.5))

    def with_threshold(max_norm: float) -> float:
        return distance(
            weights,
            trajectory(
                network(0), squares(0, scale), "SGD", result.hyperparameters,
                steps=30, max_norm=max_norm,
            ),
        )  # fmt: skip

    # The norm changes from step to step, so that a threshold right for one is wrong for another.
    nearest = min(with_threshold(0.5 * scale * (1 + k * 5e-5)) for k in range(60))
    assert 1e-7 < nearest < with_threshold(0.5 * scale) < 1e-2


def test_every_law_that_is_not_always_exact_says_so_in_the_table() -> None:
    limited = {law.name for law in LAWS if law.limits and not law.home}
    assert limited == {"Adafactor", "LBFGS", "Muon", "RAdam"}
