"""In narrow formats a step twice too large is always rejected, a right one always accepted."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from suite.algebra.units import Units
from suite.recovery import assert_convention, recover
from tests.equivalence.problems import examples
from tests.recovery.steps import losses

FORMATS = ["float64", "float32", "bfloat16", "float16", "bfloat16 autocast", "float16 autocast"]
DEPTHS = [1, 3, 6]


def problem(name: str, depth: int, seed: int, n: int = 6, width: int = 24):
    """A model of `depth` hidden layers with a batch, in the format of this name."""
    torch.manual_seed(seed)
    layers = [layer for _ in range(depth - 1) for layer in (nn.Linear(width, width), nn.Tanh())]
    model = nn.Sequential(nn.Linear(9, width), nn.Tanh(), *layers, nn.Linear(width, 5))
    kind = torch.float32 if "autocast" in name else getattr(torch, name)
    return model.to(kind), (torch.randn(n, 9).to(kind), torch.randint(5, (n,)))


def rounding(name: str):
    kind = getattr(torch, name.split()[0])
    return torch.autocast("cpu", dtype=kind, enabled="autocast" in name)


def step_of(name: str, factor: float = 1.0, *, loss_scale: float = 1.0, cut: int = 0):
    """A mean over the batch, or over micro-batches of `cut` samples, times `factor`."""

    def step(model, batch):
        x, y = batch
        size = cut or len(x)
        for start in range(0, len(x), size):
            some = slice(start, start + size)
            with rounding(name):
                loss = F.cross_entropy(model(x[some]), y[some], reduction="sum") / len(x)
            (factor * loss_scale * loss).backward()
        for parameter in model.parameters():
            parameter.grad /= loss_scale

    return step


def accepted(step, model, batch, name="mean", **options) -> bool:
    try:
        assert_convention(step, model, batch, losses, name, **options)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("name", FORMATS)
@examples(4)
@given(seed=st.integers(0, 2**16), n=st.sampled_from([1, 2, 3, 5, 8, 13]), cut=st.sampled_from([0, 1, 2]))
def test_right_steps_pass_and_twice_or_half_of_them_fail(name, depth, seed, n, cut) -> None:
    model, batch = problem(name, depth, seed, n)
    assert accepted(step_of(name, cut=cut), model, batch)
    assert not accepted(step_of(name, 2.0, cut=cut), model, batch)
    assert not accepted(step_of(name, 0.5, cut=cut), model, batch)


@pytest.mark.parametrize("name", FORMATS)
def test_a_known_convention_is_named_with_its_scale(name: str) -> None:
    model, batch = problem(name, 2, 0, n=7)
    found = recover(step_of(name, 10.0), model, batch, losses)
    assert (found.convention.name, found.scale) == ("mean", 10.0)
    narrow = "float16" in name
    assert (found.cause is not None) == narrow
    assert found.rounding.startswith(name.split()[0] if narrow else "")
    if narrow:
        assert found.cause.name == f"rounding of {found.rounding}"
        assert found.residual < found.tolerance < 0.1


def test_a_sample_that_is_lost_shows_through_the_rounding_of_many() -> None:
    model, batch = problem("bfloat16", 2, 0, n=200, width=48)

    def step(model, batch):
        weights = torch.ones(200)
        weights[0], weights[1] = 0.0, 2.0
        (weights.to(torch.bfloat16) * losses(model, batch)).mean().backward()

    found = recover(step, model, batch, losses)
    assert found.convention.name == "fault:kept-as-views"
    assert not accepted(step, model, batch)
    right = recover(step_of("bfloat16"), model, batch, losses)
    assert right.convention.name == "mean"
    assert "fault:kept-as-views" not in right.also


def test_what_rounding_hides_is_told_and_fails() -> None:
    model, batch = problem("bfloat16", 2, 0, n=64)
    units = Units.of(64, expected_batch_size=64.25)
    found = recover(step_of("bfloat16"), model, batch, losses, units=units)
    assert found.names[0] == "mean"
    assert "expected-batch-size" in found.unresolved
    assert "Rounding of bfloat16 cannot tell it from expected-batch-size" in str(found)
    with pytest.raises(AssertionError, match="hides the difference from 'expected-batch-size'"):
        assert_convention(step_of("bfloat16"), model, batch, losses, "mean", units=units)
    exact, batch = problem("float64", 2, 0, n=64)
    assert accepted(step_of("float64"), exact, batch, units=units)


def test_a_gradient_that_rounding_drowns_is_not_judged() -> None:
    # Fitted to less than bfloat16 resolves: what is left of the gradient is rounding.
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1)).bfloat16()
    x = torch.randn(8, 4).bfloat16()
    with torch.no_grad():
        y = copy.deepcopy(model).double()(x.double()) + 1e-4 * torch.randn(8, 1).double()

    def squares(model, batch):
        return (model(batch[0]).double() - batch[1]).square().squeeze(1)

    def step(model, batch):
        squares(model, batch).mean().backward()

    found = recover(step, model, (x, y), squares)
    assert found.norm > 0
    assert not found.linear
    assert "no weights can be told" in found.cause.says
    assert found.convention is None
    with pytest.raises(AssertionError, match=r"cannot be told.*float32"):
        assert_convention(step, model, (x, y), squares, "mean")


def test_weights_that_are_no_convention_are_still_told() -> None:
    model, batch = problem("bfloat16 autocast", 2, 0)
    wanted = torch.tensor([1.0, 3.0, 0.5, 2.0, 1.0, 0.25])

    def step(model, batch):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            entries = losses(model, batch)
        (wanted * entries).sum().backward()

    found = recover(step, model, batch, losses)
    assert found.linear
    assert found.convention is None
    np.testing.assert_allclose(found.weights, wanted, rtol=0.02)
    assert (np.abs(found.weights - wanted.numpy()) <= found.error).all()
