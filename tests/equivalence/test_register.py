"""A law of one's own is held against a short training before it is believed."""

from __future__ import annotations

import pytest
import torch

from suite.equivalence.law import LAWS
from suite.equivalence.register import register_law
from suite.errors import UsageError

RIGHT = {"lr": -1, "momentum": 0, "weight_decay": 1}


class Plain(torch.optim.Optimizer):
    """SGD with momentum and L2, as one writes it on an afternoon."""

    def __init__(self, params, lr=0.05, momentum=0.9, weight_decay=0.0, nesterov=False):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure):
        with torch.enable_grad():
            loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                speed = self.state[p].setdefault("speed", torch.zeros_like(p))
                speed.mul_(group["momentum"]).add_(p.grad + group["weight_decay"] * p)
                p.sub_(group["lr"] * speed)
        return loss


class Broken(Plain):
    """It divides by what is zero."""

    def step(self, closure):
        closure()
        raise ValueError("a state that is not there")


class NeedsRate(Plain):
    """Its rate has no default."""

    def __init__(self, params, lr):
        super().__init__(params, lr)


class Strict(Plain):
    """It takes weight decay with a rate that is small only."""

    def __init__(self, params, lr=0.05, weight_decay=0.0):
        if weight_decay:
            raise ValueError("no weight decay here")
        super().__init__(params, lr)


@pytest.fixture(autouse=True)
def nothing_stays():
    known = set(LAWS.names)
    yield
    for name in set(LAWS.names) - known:
        LAWS.remove(name)


@pytest.mark.parametrize(
    ("optimizer", "law"),
    [(Plain, RIGHT), (NeedsRate, {"lr": -1}), (Strict, {"lr": -1, "weight_decay": 1})],
)
def test_a_law_that_holds_is_registered(optimizer, law) -> None:
    assert register_law(optimizer, **law).name == optimizer.__name__
    assert optimizer.__name__ in LAWS


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"lr": 0}, "lr 0.05 → 0.05, momentum"),
        ({"lr": -2}, "lr 0.05 → 0.003125"),
        ({"momentum": 1}, "momentum 0.9 → 3.6"),
        ({"weight_decay": 0}, "weight_decay 0.0625 → 0.0625"),
    ],
)
def test_a_law_that_does_not_hold_is_reported_and_forgotten(wrong, said) -> None:
    with pytest.raises(UsageError, match=f"the law of Plain does not hold: .*{said}.*after 8 steps"):
        register_law(Plain, **(RIGHT | wrong))
    assert "Plain" not in LAWS


def test_an_optimizer_that_fails_is_reported_and_forgotten() -> None:
    with pytest.raises(
        UsageError, match=r"could not be tried \(test_register.py:\d+\): .*not there; .*check=False"
    ):
        register_law(Broken, **RIGHT)
    assert "Broken" not in LAWS


def test_what_cannot_be_trained_here_is_taken_at_its_word() -> None:
    register_law(Broken, check=False, **RIGHT)
    register_law("Elsewhere", lr=0)
    assert {"Broken", "Elsewhere"} <= set(LAWS.names)


class Cubed(torch.optim.Optimizer):
    """It leaves its closure alone, as most loops never give one."""

    def __init__(self, params, lr=0.05):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.sub_(group["lr"] * p.grad**3)


class WithoutClosure(Cubed):
    """It has no place for one."""

    def step(self):
        super().step()


@pytest.mark.parametrize("optimizer", [Cubed, WithoutClosure])
def test_an_optimizer_that_calls_no_closure_is_trained_all_the_same(optimizer) -> None:
    with pytest.raises(UsageError, match="does not hold"):
        register_law(optimizer, lr=-1)
    assert register_law(optimizer, lr=-3).name == optimizer.__name__
