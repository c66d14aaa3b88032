from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from suite.equivalence.equivalent import equivalent
from suite.equivalence.law import Entry, Law
from suite.equivalence.laws import LAWS
from suite.equivalence.trajectory import Training, distance, trajectory
from suite.strategies.optimizers import SETTINGS, settings_of
from tests.equivalence import test_caveats
from tests.equivalence.problems import LOUD, OTHER_SCALES, POWERS_OF_TWO, buffers, examples, problem

EXACT = sorted(SETTINGS)
SEEDS = st.integers(0, 2**16)


pytestmark = pytest.mark.usefixtures("float64_by_default")


def installed() -> dict[str, type]:
    return {
        name: cls
        for name, cls in vars(torch.optim).items()
        if isinstance(cls, type)
        and issubclass(cls, torch.optim.Optimizer)
        and cls is not torch.optim.Optimizer
    }


def signature(cls: type) -> dict[str, Any]:
    return {k: p.default for k, p in list(inspect.signature(cls).parameters.items())[1:]}


def test_every_optimizer_of_the_installed_torch_has_a_law() -> None:
    assert installed().keys() <= set(LAWS.names)


@pytest.mark.parametrize("name", sorted(installed()))
def test_a_law_names_every_hyperparameter_of_the_installed_torch(name: str) -> None:
    assert signature(installed()[name]).keys() <= LAWS[name].hyperparameters.keys()


@pytest.mark.parametrize("name", sorted(installed()))
def test_a_law_has_the_defaults_of_the_installed_torch(name: str) -> None:
    table = {k: e.default for k, e in LAWS[name].hyperparameters.items()}
    other = {k: v for k, v in signature(installed()[name]).items() if table.get(k, v) != v}
    if other and not torch.__version__.startswith("2.13."):
        pytest.skip(f"torch {torch.__version__} has other defaults of {name} than 2.13: {other}")
    assert other == {}


LIMITED = {
    "LBFGS": "test_lbfgs",
    "Muon": "test_muon",
    "RAdam": "test_radam",
}
"""The laws that hold within limits only, and what tests of `test_caveats.py` try them there are called."""


def untested(law: Law) -> list[str]:
    """What must be added, and where, before the exponents of `law` are put to the test."""
    if law.home or (law.limits and law.name in LIMITED):  # test_laws_of_packages.py tries those of packages
        return []
    if law.name not in SETTINGS:
        return [f"suite.strategies.optimizers.SETTINGS has no {law.name}: no training tests its exponents"]
    numbers = {name for name, entry in law.hyperparameters.items() if entry.is_number}
    options = {entry.flag for entry in law.hyperparameters.values() if entry.flag}
    found = [
        f"suite.strategies.optimizers.SETTINGS[{law.name!r}] does not draw {name}: its exponent is not tested"
        for name in sorted((numbers | options) - SETTINGS[law.name].keys())
    ]
    scaled = {name for name in numbers if any(np.atleast_1d(law.hyperparameters[name].exponent))}
    if not law.limits and scaled - LOUD.get(law.name, {}).keys():
        found.append(f"tests.equivalence.problems.LOUD[{law.name!r}] lacks {', '.join(sorted(scaled))}")
    return found


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_every_law_is_put_to_the_test(law: Law) -> None:
    assert untested(law) == []


@pytest.mark.parametrize("name", LIMITED)
def test_a_law_with_limits_is_tried_within_them(name: str) -> None:
    tests = [test for test in vars(test_caveats) if test.startswith(LIMITED[name])]
    assert tests, f"tests/equivalence/test_caveats.py has no {LIMITED[name]}_…"


def test_a_law_that_is_made_up_is_asked_for_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    law = Law("Lion", {"lr": Entry(1e-4), "eps": Entry(1e-8, 1), "fast": Entry(default=False)}, {}, "a paper")
    assert untested(law) == [
        "suite.strategies.optimizers.SETTINGS has no Lion: no training tests its exponents"
    ]
    monkeypatch.setitem(SETTINGS, "Lion", {"lr": st.just(0.1)})
    assert untested(law) == [
        "suite.strategies.optimizers.SETTINGS['Lion'] does not draw eps: its exponent is not tested",
        "tests.equivalence.problems.LOUD['Lion'] lacks eps",
    ]
    monkeypatch.setitem(SETTINGS, "Lion", {"lr": st.just(0.1), "eps": st.just(0.1)})
    monkeypatch.setitem(LOUD, "Lion", {"eps": 0.1})
    assert untested(law) == []
    assert untested(replace(law, limits="none but itself", hyperparameters={})) == []


def check_state(name: str, a: Training, b: Training, scale: Any, tolerance: float) -> None:
    """Each buffer of `b` is `scale**exponent` times that of `a`."""
    for old, new in zip(buffers(a), buffers(b), strict=True):
        assert old.keys() == new.keys() <= LAWS[name].state.keys()
        for key, value in old.items():
            expected = torch.as_tensor(value) * float(scale) ** LAWS[name].state[key]
            error = (torch.as_tensor(new[key]) - expected).norm()
            assert error <= tolerance * expected.norm(), (key, value, new[key])


def parted(name: str, hyper: dict[str, Any], scale: Any, seed: int, *, steps: int, rounding: float) -> float:
    """The distance of both sides after `steps`, once their states are seen to follow the law."""
    model, make = problem(name, seed, hyper, convex=rounding > 0)
    result = equivalent(name, hyper, scale=scale)
    a = Training(model, make(), name, result.given)
    b = Training(model, make(scale), name, result.hyperparameters)
    reference = [a.step(step) for step in range(steps)]
    assert all(weights.isfinite().all() for weights in reference)
    parts = distance(reference, [b.step(step) for step in range(steps)])
    check_state(name, a, b, scale, rounding)
    return parts


@pytest.mark.parametrize("name", EXACT)
@examples(10)
@given(data=st.data(), scale=POWERS_OF_TWO, seed=SEEDS)
def test_a_power_of_two_leaves_the_trajectory_and_scales_the_state_bit_for_bit(
    name: str, data: st.DataObject, scale: float, seed: int
) -> None:
    hyper = data.draw(settings_of(name))
    assert parted(name, hyper, scale, seed, steps=25, rounding=0.0) == 0.0


@pytest.mark.parametrize("name", EXACT)
@examples(5)
@given(data=st.data(), scale=OTHER_SCALES, seed=SEEDS)
def test_any_scale_leaves_the_trajectory_within_rounding_over_100_steps(
    name: str, data: st.DataObject, scale: float, seed: int
) -> None:
    hyper = data.draw(settings_of(name))
    assert parted(name, hyper, scale, seed, steps=100, rounding=1e-9) <= 1e-10


@pytest.mark.parametrize("scale", [2.0**-5, 2.0**7])
@pytest.mark.parametrize("name", sorted(LOUD))
def test_each_hyperparameter_counts_and_the_law_holds_with_all_at_once(name: str, scale: float) -> None:
    assert parted(name, LOUD[name], scale, 0, steps=25, rounding=0.0) == 0.0
    result = equivalent(name, LOUD[name], scale=scale)
    model, make = problem(name, 0, LOUD[name])
    weights = list(trajectory(model, make(), name, LOUD[name], steps=25))
    for change in result.changes:
        if change.new != change.old:
            kept = result.hyperparameters | {change.name: change.old}
            other = trajectory(model, make(scale), name, kept, steps=25)
            assert distance(weights, other) > 1e-3, f"{change.name} does not count"
