from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from hypothesis import given, reject
from hypothesis import strategies as st
from torch import nn

from suite import equivalence
from suite.equivalence import convert_state
from suite.equivalence.trajectory import Training, distance
from suite.errors import UsageError
from suite.strategies.optimizers import SETTINGS, settings_of
from tests.equivalence.problems import (
    LBFGS,
    OTHER_SCALES,
    POWERS_OF_TWO,
    bowl,
    examples,
    flat,
    network,
    problem,
    squares,
)

pytestmark = pytest.mark.usefixtures("float64_by_default")

SEEDS = st.integers(0, 2**16)
BEFORE = 12


def switched(
    name: str,
    model: nn.Module,
    make: Any,
    hyper: dict[str, Any],
    scale: Any,
    *,
    after: int,
    before: int = BEFORE,
) -> tuple[float, float]:
    """How far training parts that switches after `before` steps, with its state converted and without."""
    reference = Training(model, make(), name, hyper)
    whole = [reference.step(step) for step in range(before + after)]

    def go_on(*, convert: bool) -> float:
        training = Training(model, make(), name, hyper)
        path = [training.step(step) for step in range(before)]
        if convert:
            convert_state(training.optimizer, scale)
        other = Training(training.model, make(scale), name, hyper)
        reload(training.optimizer, other.optimizer)
        path += [other.step(step) for step in range(before, before + after)]
        return distance(whole, path)

    return go_on(convert=True), go_on(convert=False)


def reload(source: torch.optim.Optimizer, target: torch.optim.Optimizer) -> None:
    """Hand the state over by way of a checkpoint."""
    file = io.BytesIO()
    torch.save(source.state_dict(), file)
    file.seek(0)
    target.load_state_dict(torch.load(file, weights_only=True))


@pytest.mark.parametrize("name", sorted(SETTINGS))
@examples(5)
@given(data=st.data(), scale=POWERS_OF_TWO, seed=SEEDS)
def test_training_goes_on_bit_for_bit_after_a_switch_by_a_power_of_two(
    name: str, data: st.DataObject, scale: float, seed: int
) -> None:
    hyper = data.draw(settings_of(name))
    model, make = problem(name, seed, hyper)
    assert switched(name, model, make, hyper, scale, after=12)[0] == 0.0


@pytest.mark.parametrize("name", sorted(SETTINGS))
@examples(2)
@given(data=st.data(), scale=OTHER_SCALES, seed=SEEDS)
def test_training_goes_on_within_rounding_after_a_switch_by_any_scale(
    name: str, data: st.DataObject, scale: float, seed: int
) -> None:
    hyper = data.draw(settings_of(name))
    model, make = problem(name, seed, hyper, convex=True)
    try:
        gap, _ = switched(name, model, make, hyper, scale, after=88)
    except UsageError as refused:
        assert "does not fit a float" in str(refused)  # noqa: PT017  some settings are the least there is
        reject()
    assert gap <= 1e-10


@pytest.mark.parametrize("name", sorted(SETTINGS.keys() - {"Rprop"}))  # only signs count there
def test_without_conversion_the_trajectory_is_left(name: str) -> None:
    hyper = {"momentum": 0.9} if name in {"SGD", "RMSprop"} else {}
    model, make = problem(name, 0, hyper)
    converted, left = switched(name, model, make, hyper, 2.0**-5, after=12)
    assert converted == 0.0
    assert left > 1e-5


def test_radam_goes_on_bit_for_bit_once_its_first_steps_are_over() -> None:
    make = lambda scale=1: squares(0, scale)  # noqa: E731  a partial with a default
    assert switched("RAdam", network(0), make, {"lr": 0.01}, 0.25, after=10)[0] == 0.0


def test_radam_is_not_converted_during_its_first_steps() -> None:
    training = Training(network(0), squares(0), "RAdam", {})
    training.step(0)
    before = copy.deepcopy(training.optimizer.state_dict())
    with pytest.raises(UsageError, match="taken 1 steps, and its first 5 follow another law"):
        convert_state(training.optimizer, 2)
    after = training.optimizer.state_dict()
    assert str(before) == str(after)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_muon_goes_on_bit_for_bit() -> None:
    make = lambda scale=1: squares(0, scale)  # noqa: E731  a partial with a default
    assert switched("Muon", flat(0), make, {"lr": 0.01}, 0.25, after=10)[0] == 0.0


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
@pytest.mark.parametrize("iterations", [1, 4])
def test_lbfgs_goes_on_bit_for_bit_whatever_its_first_gradient(iterations: int, search: str | None) -> None:
    hyper = LBFGS | {"lr": 0.5, "max_iter": iterations, "line_search_fn": search}
    make = lambda scale=1: bowl(1e-2, scale)  # noqa: E731  a partial with a default
    assert switched("LBFGS", network(0), make, hyper, 64.0, before=1, after=2)[0] == 0.0


def test_groups_keep_their_own_hyperparameters_and_a_schedulers_first_rate_follows() -> None:
    first, second = network(0), network(1)
    optimizer = torch.optim.SGD(
        [{"params": first.parameters(), "lr": 0.1}, {"params": second.parameters()}],
        lr=0.2,
        weight_decay=0.5,
    )
    torch.optim.lr_scheduler.StepLR(optimizer, 1)
    result = convert_state(optimizer, 2)
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.1]
    assert [group["initial_lr"] for group in optimizer.param_groups] == [0.05, 0.1]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [1.0, 1.0]
    assert [new.given["lr"] for new in result.groups] == [0.1, 0.2]
    assert result.exact


def test_a_rate_that_is_a_tensor_stays_one() -> None:
    optimizer = torch.optim.SGD(network(0).parameters(), lr=torch.tensor(0.5))
    convert_state(optimizer, 2)
    assert torch.equal(optimizer.param_groups[0]["lr"], torch.tensor(0.25))


def test_adafactor_takes_the_machine_epsilon_of_its_parameters() -> None:
    optimizer = torch.optim.Adafactor(network(0).parameters())
    result = convert_state(optimizer, 2)
    assert optimizer.param_groups[0]["eps"] == (2 * torch.finfo(torch.float64).eps, 1e-3)
    assert not result.exact


def test_a_buffer_that_the_law_does_not_know_stops_the_conversion() -> None:
    training = Training(network(0), squares(0), "Adam", {})
    training.step(0)
    training.optimizer.state[training.parameters[0]]["ema"] = torch.ones(())
    with pytest.raises(UsageError, match="the state of Adam holds ema"):
        convert_state(training.optimizer, 2)
    assert training.optimizer.param_groups[0]["eps"] == 1e-8


def test_a_misspelt_name_is_no_attribute_of_the_package() -> None:
    with pytest.raises(AttributeError, match=r"module 'suite\.equivalence' has no attribute 'convert_sate'"):
        equivalence.convert_sate  # noqa: B018  it raises
