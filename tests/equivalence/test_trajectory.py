from __future__ import annotations

import math

import pytest
import torch

from suite.algebra.units import Units
from suite.conventions import conventions
from suite.equivalence.equivalent import equivalent
from suite.equivalence.trajectory import Training, check_training, distance, following, trajectory
from suite.errors import UsageError
from suite.loops.loop import Loop
from tests.equivalence.problems import network, squares


def test_the_same_training_twice_has_no_distance():
    result = equivalent("Adam", {"lr": 0.01}, scale=1)
    check = check_training(network(0), squares(0), squares(0), result, steps=10)
    assert (check.steps, check.converted, check.unchanged, check.scheduled) == (10, 0.0, 0.0, None)


def test_left_unchanged_the_hyperparameters_lead_elsewhere():
    result = equivalent("Adam", {"lr": 0.01, "eps": 1e-3, "weight_decay": 0.1}, scale=1 / 32)
    check = check_training(network(0), squares(0), squares(0, 1 / 32), result, steps=50)
    assert check.converted == 0.0
    assert check.unchanged > 0.01


def test_a_wrong_gradient_is_noticed():
    result = equivalent("SGD", {"lr": 0.01}, scale=1 / 32)
    assert check_training(network(0), squares(0), squares(0, 1 / 31), result, steps=5).converted > 1e-4
    assert check_training(network(0), squares(0), squares(1, 1 / 32), result, steps=5).converted > 1e-3


def test_the_distance_is_the_largest_over_the_steps_relative_to_the_reference():
    a = [torch.tensor([3.0, 4.0]), torch.tensor([0.0, 10.0])]
    b = [torch.tensor([3.0, 5.0]), torch.tensor([0.0, 10.5])]
    assert distance(a, b) == pytest.approx(0.2)


def test_weights_that_are_no_longer_finite_are_infinitely_far():
    assert distance([torch.ones(2)], [torch.tensor([1.0, math.nan])]) == math.inf


def test_trajectories_of_different_lengths_are_not_compared():
    with pytest.raises(ValueError, match="shorter"):
        distance([torch.ones(2)], [])


def test_the_model_that_is_checked_on_is_not_changed():
    model = network(0)
    before = [p.clone() for p in model.parameters()]
    list(trajectory(model, squares(0), "SGD", {"lr": 0.1}, steps=3))
    assert all(map(torch.equal, before, model.parameters()))
    assert all(p.grad is None for p in model.parameters())


def test_the_default_dtype_is_put_back():
    result = equivalent("ASGD", {"lr": 0.01}, scale=1 / 3)
    assert check_training(network(0), squares(0), squares(0, 1 / 3), result, steps=100).converted <= 1e-10
    assert torch.get_default_dtype() == torch.float32


def test_a_reference_that_diverges_proves_nothing():
    result = equivalent("SGD", {"lr": 1e6}, scale=2)
    with pytest.raises(UsageError, match="training diverges within 30 steps"):
        check_training(network(0), squares(0), squares(0, 2), result, steps=30)


def test_what_torch_does_not_accept_gets_one_line():
    result = equivalent("SGD", {"lr": 0.1, "nesterov": True}, scale=2)
    with pytest.raises(UsageError, match=r"torch does not accept this: .*Nesterov"):
        check_training(network(0), squares(0), squares(0, 2), result, steps=3)


def test_an_optimizer_that_this_torch_lacks_is_named(monkeypatch):
    monkeypatch.delattr(torch.optim, "Adam")
    with pytest.raises(UsageError, match="has no optimizer Adam"):
        list(trajectory(network(0), squares(0), "Adam", {}, steps=1))


@pytest.mark.parametrize("name", ["sum", "half-mean", "element-mean", "sum-of-microbatch-means"])
def test_a_convention_is_followed_by_its_literal_loop_with_parts_and_a_regulariser(name):
    inputs = torch.randn(6, 3, dtype=torch.float64)
    units = Units.of(
        6, {"elements": 2, "microbatch": [0, 0, 0, 1, 1, 1]}, parts=("a", "b"), regulariser=True, window=2
    )  # fmt: skip

    def loop(model, step):
        return Loop(
            model,
            inputs,
            lambda model, batch: (model(batch) - step).square(),
            units,
            lambda model: sum(p.square().sum() for p in model.parameters()),
        )

    model = network(0)
    backward = following(conventions[name], loop)
    loss = backward(model, 2)
    # The loss that is returned is the one whose gradient is left: along the gradient it grows so.
    gradient = [p.grad.clone() for p in model.parameters()]
    with torch.no_grad():
        for p, g in zip(model.parameters(), gradient, strict=True):
            p += 1e-7 * g
    rise = (backward(model, 2) - loss).item() / 1e-7
    assert rise == pytest.approx(sum(g.square().sum().item() for g in gradient), rel=1e-4)


def test_under_clipping_the_sum_stands_for_a_loss_that_does_not_exist():
    units = Units.of(2, max_norm=0.1)
    inputs = torch.ones(2, 3, dtype=torch.float64)
    backward = following(
        conventions["clip-mean"],
        lambda model, step: Loop(model, inputs, lambda m, b: m(b).square().sum(1), units),
    )
    model = network(0)
    loss = backward(model, 0)
    assert loss.item() == pytest.approx(model(inputs).square().sum().item())
    assert torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item() <= 0.1 * (1 + 1e-9)


def test_an_optimizer_may_be_given_by_its_class():
    trained = [Training(network(0), squares(0), cls, {"lr": 0.1}) for cls in ("SGD", torch.optim.SGD)]
    one, two = (each.step(0) for each in trained)
    assert torch.equal(one, two)
