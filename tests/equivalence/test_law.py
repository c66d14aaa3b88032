from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from suite.equivalence.equivalent import equivalent
from suite.equivalence.law import LAWS, check_scale, power_of_two, rescaled
from suite.equivalence.laws import law
from suite.equivalence.register import register_law
from suite.equivalence.state import convert_state
from suite.equivalence.trajectory import check_training
from suite.errors import UsageError
from tests.equivalence.problems import network, squares

NUMBERS = st.floats(1e-12, 1e12)


class Lion(torch.optim.Optimizer):
    """Chen et al. 2023, arXiv 2302.06675: the sign of an average of gradients."""

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0, *, maximize=False):
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure=None):
        with torch.enable_grad():
            loss = closure()
        for group in self.param_groups:
            first, second = group["betas"]
            for p in group["params"]:
                average = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(group["lr"] * average.lerp(p.grad, 1 - first).sign())
                average.lerp_(p.grad, 1 - second)
        return loss


@pytest.fixture
def lion():
    yield register_law(Lion, lr=0, betas=0, weight_decay=0, state={"exp_avg": 1})
    LAWS.remove("Lion")


def test_an_optimizer_of_ones_own_is_registered_in_one_line(lion):
    assert law(Lion) is lion is law("Lion")
    result = equivalent(Lion, {"lr": 1e-3}, scale=4.0)
    assert check_training(network(0), squares(0), squares(0, 4.0), result, steps=20).converted == 0.0
    assert result.python == "Lion(model.parameters(), lr=0.001)"


def test_the_state_of_an_optimizer_of_ones_own_is_converted(lion):
    optimizer = Lion(network(0).parameters())
    first = optimizer.param_groups[0]["params"][0]
    optimizer.state[first]["exp_avg"] = torch.full((2,), 3.0)
    convert_state(optimizer, 2)
    assert optimizer.state[first]["exp_avg"].tolist() == [6.0, 6.0]


def test_a_number_without_an_exponent_is_not_registered():
    with pytest.raises(UsageError, match="the law of Lion says nothing of weight_decay"):
        register_law(Lion, lr=0, betas=0)
    assert "Lion" not in LAWS


def test_a_law_is_not_registered_twice():
    with pytest.raises(UsageError, match="named 'Adam'"):
        register_law("Adam", lr=0)


def test_an_unknown_optimizer_is_reported():
    with pytest.raises(UsageError, match="did you mean 'Adam'"):
        law("Adamm")
    with pytest.raises(UsageError, match=r"laws exist for Adadelta, .*register_law"):
        law("Frobnicate")
    with pytest.raises(UsageError, match=r"no law is known for .*Lion: .*register_law\(Lion"):
        law(Lion)


def test_a_class_that_only_has_the_name_of_torchs_is_not_taken_for_it():
    other = type("Adam", (torch.optim.Optimizer,), {"__module__": "apex.optimizers"})
    with pytest.raises(UsageError, match=r"no law is known for apex\.optimizers\.Adam"):
        law(other)
    assert law(torch.optim.Adam) is law("Adam")


@pytest.mark.parametrize("scale", [0, 0.0, -1, -0.5, math.inf, -math.inf, math.nan, "two", None, True])
def test_an_impossible_scale_is_refused(scale):
    with pytest.raises(UsageError, match=r"greater than 0|set the optimizer's maximize"):
        check_scale(scale)


def test_whole_numbers_that_no_float_holds_are_refused():
    with pytest.raises(UsageError, match=r"the scale is 1000.*… \(401 characters\): a finite number"):
        check_scale(10**400)
    with pytest.raises(UsageError, match="the scale is of thousands of digits"):
        check_scale(10**5000)
    with pytest.raises(UsageError, match=r"lr is 1000.*\(401 characters\), it must be"):
        equivalent("SGD", {"lr": 10**400}, scale=2)
    with pytest.raises(UsageError, match=r"betas is \(1000.*\(408 characters\), it must be 2 numbers"):
        equivalent("Adam", {"betas": (10**400, 0.9)}, scale=2)
    with pytest.raises(UsageError, match=r"max_norm is 1000.*: a finite number greater than 0 is needed"):
        equivalent("SGD", {"lr": 0.1}, scale=2, max_norm=10**400)


def test_a_negative_scale_is_explained():
    with pytest.raises(UsageError, match=r"give 2 and set the optimizer's maximize"):
        check_scale(-2)


@given(value=NUMBERS, power=st.integers(-60, 60), exponent=st.integers(-2, 2))
def test_powers_of_two_change_no_bit_of_a_mantissa(value, power, exponent):
    new = rescaled("lr", value, 2.0**power, exponent)
    assert new == math.ldexp(value, power * exponent)
    assert power_of_two(2.0**power)


@given(value=NUMBERS, n=st.integers(1, 10**6))
def test_a_fraction_is_rounded_once(value, n):
    assert rescaled("lr", value, Fraction(1, n), -1) == value * n


@given(value=NUMBERS, scale=st.floats(1e-6, 1e6), exponent=st.sampled_from([-1, 1, 2]))
def test_there_and_back_is_where_it_began(value, scale, exponent):
    there = rescaled("lr", value, scale, exponent)
    assert rescaled("lr", there, 1 / Fraction(scale), exponent) == pytest.approx(value, rel=1e-15)


def test_what_has_no_exponent_stays_the_very_same():
    for value in (0, 1, 0.9, True, None, "original", (0.9, 0.999)):
        assert rescaled("x", value, 3.0, 0) == value
        assert type(rescaled("x", value, 3.0, 0)) is type(value)


def test_numbers_of_numpy_are_numbers():
    assert rescaled("lr", np.float32(0.5), np.float64(4), -1) == 0.125
    assert rescaled("lr", np.int64(3), check_scale(np.int64(2)), 1) == 6.0
    assert type(rescaled("lr", np.float32(0.5), 4.0, 1)) is float


@pytest.mark.parametrize(("value", "scale"), [(1e-8, 1e-305), (1e300, 1e10)])
def test_a_result_that_no_float_holds_is_refused(value, scale):
    with pytest.raises(UsageError, match="does not fit a float"):
        rescaled("eps", value, scale, 1)


@pytest.mark.parametrize("text", ["1e999999999", "nan", "1e-999999999"])
def test_a_scale_that_no_float_holds_is_refused_without_being_written_out(text: str) -> None:
    with pytest.raises(UsageError, match="a finite number greater than 0 is needed"):
        check_scale(text)
