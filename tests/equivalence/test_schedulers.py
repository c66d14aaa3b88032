"""Under a scheduler too, training goes on after a switch as if there had been none."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import Optimizer
from torch.optim import lr_scheduler as lr
from torch.optim.swa_utils import SWALR

from suite.equivalence import convert_state
from suite.equivalence.schedulers import FOR_ALL
from suite.errors import UsageError
from tests.equivalence.problems import network, squares

pytestmark = [
    pytest.mark.usefixtures("float64_by_default"),
    # What SequentialLR of torch 2.6 says of itself.
    pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step"),
]

SCHEDULERS: dict[str, Callable[[Optimizer], Any]] = {
    "LambdaLR": lambda o: lr.LambdaLR(o, lambda step: 1 / (1 + step)),
    "MultiplicativeLR": lambda o: lr.MultiplicativeLR(o, lambda _: 0.9),
    "StepLR": lambda o: lr.StepLR(o, 3, 0.5),
    "MultiStepLR": lambda o: lr.MultiStepLR(o, [4, 9], 0.3),
    "ConstantLR": lambda o: lr.ConstantLR(o, 0.5, total_iters=9),
    "LinearLR": lambda o: lr.LinearLR(o, 0.1, total_iters=10),
    "ExponentialLR": lambda o: lr.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda o: lr.PolynomialLR(o, total_iters=14, power=2),
    "CosineAnnealingLR": lambda o: lr.CosineAnnealingLR(o, 10, eta_min=0.003),
    "CosineAnnealingWarmRestarts": lambda o: lr.CosineAnnealingWarmRestarts(o, 4, eta_min=0.003),
    "CyclicLR": lambda o: lr.CyclicLR(o, 0.002, [0.02, 0.03], step_size_up=3, cycle_momentum=False),
    "OneCycleLR": lambda o: lr.OneCycleLR(o, 0.05, total_steps=20, cycle_momentum=False),
    "ReduceLROnPlateau": lambda o: lr.ReduceLROnPlateau(o, patience=0, factor=0.7, min_lr=0.004, eps=1e-4),
    "SequentialLR": lambda o: lr.SequentialLR(
        o, [lr.LinearLR(o, 0.1, total_iters=4), lr.CosineAnnealingLR(o, 6, eta_min=0.003)], [4]
    ),
    "ChainedScheduler": lambda o: lr.ChainedScheduler([lr.ExponentialLR(o, 0.9), lr.StepLR(o, 5)]),
    "SWALR": lambda o: SWALR(o, 0.003, anneal_epochs=9),
}

HOLDING_RATES = (
    "LambdaLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ReduceLROnPlateau",
    "SequentialLR",
)  # fmt: skip
"""The others go on from what the rate is, or from what they left in the parameter groups."""


def trained(
    name: str, *, optimizer: str, scale: float = 1.0, after: int | None = None, given: bool = True
) -> list[torch.Tensor]:
    """`[steps]` the weights of training whose gradients are `scale` times as large after some steps."""
    model = network(0)
    first, second = model[0].parameters(), model[2].parameters()
    options: dict[str, Any] = {"lr": 0.02, "weight_decay": 0.1}
    options |= {"momentum": 0.9} if optimizer == "SGD" else {"eps": 0.1}
    o = getattr(torch.optim, optimizer)([{"params": first}, {"params": second, "lr": 0.03}], **options)
    scheduler = SCHEDULERS[name](o)
    path = []
    for step in range(18):
        if step == after:
            convert_state(o, scale, schedulers=[scheduler] if given else [])
        factor = scale if after is not None and step >= after else 1.0
        o.zero_grad()
        squares(0, factor)(model, step)
        o.step()
        # What it watches is the same under both conventions.
        watched = [1.0 + step % 3] if name == "ReduceLROnPlateau" else []
        scheduler.step(*watched)
        path.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    return path


def test_every_scheduler_that_is_known_is_tried() -> None:
    assert {known.__name__ for known in FOR_ALL} == SCHEDULERS.keys()


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_training_goes_on_bit_for_bit_under_a_scheduler(name: str, optimizer: str) -> None:
    whole = trained(name, optimizer=optimizer)
    switched = trained(name, optimizer=optimizer, scale=2.0**-5, after=7)
    assert all(map(torch.equal, whole, switched))


@pytest.mark.parametrize("name", HOLDING_RATES)
def test_a_scheduler_that_is_not_given_goes_on_with_the_old_rates(name: str) -> None:
    whole = trained(name, optimizer="SGD")
    switched = trained(name, optimizer="SGD", scale=2.0**-5, after=7, given=False)
    assert not torch.allclose(whole[-1], switched[-1], rtol=1e-3)


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
def test_a_rate_that_is_a_tensor_stays_one() -> None:
    rate = torch.tensor(0.02)
    o = torch.optim.SGD(network(0).parameters(), lr=rate)
    scheduler = lr.CosineAnnealingLR(o, 10)
    convert_state(o, 4.0, schedulers=[scheduler])
    assert torch.equal(o.param_groups[0]["lr"], torch.tensor(0.005))
    assert [float(base) for base in scheduler.base_lrs] == [0.005]
    assert float(rate) == 0.02


def test_rates_that_are_given_group_by_group_are_converted_one_by_one() -> None:
    model = network(0)
    groups = [{"params": model[0].parameters()}, {"params": model[2].parameters()}]
    o = torch.optim.SGD(groups, lr=0.02)
    scheduler = lr.ReduceLROnPlateau(o, min_lr=[0.004, 0.0])
    convert_state(o, 4.0, schedulers=[scheduler])
    assert scheduler.min_lrs == [0.001, 0.0]
    assert scheduler.eps == 1e-8 / 4


class Mine(lr.LRScheduler):
    peak = 0.1

    def get_lr(self) -> list[float]:
        return [self.peak for _ in self.base_lrs]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (Mine, "not known which attributes of Mine are rates: make that scheduler anew after"),
        (lambda _: object(), "not known which attributes of object"),
        (
            lambda _: lr.StepLR(torch.optim.SGD(network(1).parameters(), lr=0.1), 3),
            "this StepLR is the scheduler of another optimizer",
        ),
        (lambda o: lr.ChainedScheduler([lr.StepLR(o, 3), Mine(o)]), "attributes of Mine"),
    ],
)
def test_a_scheduler_that_cannot_be_converted_changes_nothing(make: Callable, says: str) -> None:
    o = torch.optim.SGD(network(0).parameters(), lr=0.1, momentum=0.9)
    scheduler = make(o)
    before = copy.deepcopy(o.state_dict())
    with pytest.raises(UsageError, match=says):
        convert_state(o, 2.0, schedulers=[scheduler])
    assert str(before) == str(o.state_dict())
