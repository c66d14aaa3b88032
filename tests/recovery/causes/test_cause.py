"""Each nonlinear step is known by its residual, and its cause named where an experiment tells it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from suite.recovery import recover
from tests.recovery.steps import losses, mean, setting

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


def clipped(norm: float, *, kind: str = "norm"):
    def step(model, batch):
        mean(model, batch)
        if kind == "norm":
            nn.utils.clip_grad_norm_(model.parameters(), norm)
        elif kind == "value":
            nn.utils.clip_grad_value_(model.parameters(), norm)
        else:
            for parameter in model.parameters():
                nn.utils.clip_grad_norm_([parameter], norm)

    return step


def found_in(step, *layers, dtype=torch.float64, n=8):
    given = setting(n, *layers, dtype=dtype)
    return recover(step, given.model, given.batch, losses)


@DTYPES
def test_clipping_by_norm_leaves_proportional_weights_and_a_norm_that_stays(dtype) -> None:
    found = found_in(clipped(0.125), dtype=dtype)
    assert found.linear
    assert found.convention.name == "mean"
    assert 0 < found.scale < 1
    assert found.cause.name == "clipped by norm"
    assert "0.125" in found.cause.says


def test_an_odd_learning_rate_in_the_loss_is_not_taken_for_clipping() -> None:
    def step(model, batch):
        (0.0371 * losses(model, batch).mean()).backward()

    found = found_in(step)
    assert found.convention.name == "mean"
    assert found.scale == pytest.approx(0.0371)
    assert found.cause is None


def test_a_threshold_that_is_not_reached_changes_nothing() -> None:
    found = found_in(clipped(1e6))
    assert (found.convention.name, found.scale, found.cause) == ("mean", 1.0, None)


@DTYPES
def test_clipping_by_value_is_named_with_its_threshold_and_what_is_beneath(dtype) -> None:
    found = found_in(clipped(0.05, kind="value"), dtype=dtype)
    assert not found.linear
    assert found.convention is None
    assert found.cause.name == "clipped by value"
    assert "±0.05" in found.cause.says
    assert (found.cause.convention, found.cause.scale) == ("mean", 1.0)


@DTYPES
def test_clipping_tensor_by_tensor_is_named_with_its_threshold(dtype) -> None:
    found = found_in(clipped(0.1, kind="tensor"), dtype=dtype)
    assert not found.linear
    assert found.cause.name == "clipped tensor by tensor"
    assert "0.1" in found.cause.says


def test_frozen_tensors_have_no_gradient() -> None:
    def step(model, batch):
        model[0].requires_grad_(False)
        mean(model, batch)

    found = found_in(step)
    assert (found.cause.name, found.cause.convention) == ("tensors without a gradient", "mean")
    assert "2 of 4 tensors have none (0.weight, 0.bias)" in found.cause.says
    assert found.cause.weights == pytest.approx(1 / 8)


@DTYPES
def test_dropout_is_named_and_what_is_beneath_it(dtype) -> None:
    found = found_in(mean, nn.Dropout(0.3), dtype=dtype)
    assert found.cause.name == "dropout"
    assert found.cause.convention == "mean"


def test_dropout_without_a_module_is_named_too() -> None:
    class Functional(nn.Module):
        def forward(self, x):
            return F.dropout(x, 0.3, self.training)

    assert found_in(mean, Functional()).cause.name == "dropout"


def test_dropout_in_eval_mode_is_nothing() -> None:
    given = setting(8, nn.Dropout(0.3))
    assert recover(mean, given.model.eval(), given.batch, losses).linear


def test_a_step_that_switches_to_train_mode_itself_is_seen_through() -> None:
    def step(model, batch):
        model.train()
        mean(model, batch)

    given = setting(8, nn.Dropout(0.3))
    assert recover(step, given.model.eval(), given.batch, losses).cause.name == "dropout"


@DTYPES
def test_batchnorm_in_train_mode_is_named(dtype) -> None:
    found = found_in(mean, nn.BatchNorm1d(24), dtype=dtype)
    assert found.residual > 0.01
    assert found.cause.name == "BatchNorm in train mode"


def test_dropout_and_batchnorm_together_are_named() -> None:
    found = found_in(mean, nn.BatchNorm1d(24), nn.Dropout(0.3))
    assert found.cause.name == "dropout and BatchNorm in train mode"


def noisy(model, batch) -> None:
    mean(model, batch)
    for parameter in model.parameters():
        parameter.grad += 0.01 * torch.randn_like(parameter)


@DTYPES
def test_noise_changes_from_call_to_call(dtype) -> None:
    found = found_in(noisy, dtype=dtype)
    assert not found.linear
    assert found.cause.name == "noise"
    assert "call to call" in found.cause.says


def test_noise_from_a_generator_of_its_own_is_noise() -> None:
    own = torch.Generator().manual_seed(7)

    def step(model, batch):
        mean(model, batch)
        for p in model.parameters():
            p.grad += 0.01 * torch.randn(p.shape, generator=own, dtype=p.dtype)

    assert found_in(step).cause.name == "noise"


def test_an_l2_term_is_named_with_its_factor() -> None:
    def step(model, batch):
        penalty = sum(p.square().sum() for p in model.parameters())
        (losses(model, batch).mean() + 0.005 * penalty).backward()

    found = found_in(step)
    assert found.cause.name == "an L2 term"
    assert found.cause.says.startswith("0.01 ×")
    assert found.cause.convention == "mean"


def test_what_no_single_cause_explains_is_not_given_one() -> None:
    def penalised(model, batch):
        x = batch[0].requires_grad_()
        entries = losses(model, (x, batch[1]))
        (slope,) = torch.autograd.grad(entries.sum(), x, create_graph=True)
        (entries.mean() + slope.square().sum()).backward()

    found = found_in(penalised)
    assert not found.linear
    assert found.residual > 1e-3
    assert found.cause is not None
    assert found.cause.name == "neither `losses` nor a sum over samples"


class Attention(nn.Module):
    """Looks at each number of a sample; with dropout inside torch's own function."""

    def __init__(self, call) -> None:
        super().__init__()
        self.call = call

    def forward(self, x):
        q = x.unflatten(-1, (1, 6, 4))
        return self.call(q, q, q, self.training).flatten(1)


@pytest.mark.parametrize(
    "call",
    [
        lambda q, k, v, on: F.scaled_dot_product_attention(q, k, v, dropout_p=0.4 * on),
        lambda q, k, v, on: F.scaled_dot_product_attention(q, k, v, None, 0.4 * on),
    ],
    ids=["by name", "by place"],
)
def test_dropout_inside_attention_is_named(call) -> None:
    assert found_in(mean, Attention(call)).cause.name == "dropout"


def test_noise_is_told_from_a_batchnorm_that_has_no_running_statistics() -> None:
    assert found_in(noisy, nn.BatchNorm1d(24, track_running_stats=False)).cause.name == "noise"


def test_what_is_beneath_a_nonlinear_step_is_said() -> None:
    assert "Beneath it the weights are those of mean." in str(found_in(clipped(0.05, kind="value")))

    def scaled(model, batch) -> None:
        clipped(0.05, kind="value")(model, batch)
        for parameter in model.parameters():
            parameter.grad *= 0.3

    assert "Beneath it the weights are those of 0.3 × mean." in str(found_in(scaled))


def test_entries_held_too_low_are_no_clipping_by_value() -> None:
    def step(model, batch):
        mean(model, batch)
        weight = model[0].weight.grad
        # The two smallest entries are as large as the largest: nothing was cut off there.
        weight.flatten()[weight.abs().flatten().argsort()[:2]] = 100 * weight.abs().max()

    found = found_in(step)
    assert not found.linear
    assert found.cause is not None
    assert found.cause.name == "neither `losses` nor a sum over samples"


def test_a_tensor_whose_gradients_cancel_does_not_speak_for_tensors() -> None:
    class Shifted(nn.Module):
        """A parameter whose gradient is zero for each sample."""

        def __init__(self) -> None:
            super().__init__()
            self.idle = nn.Parameter(torch.ones(3))

        def forward(self, x):
            return x + 0 * self.idle.sum()

    found = found_in(clipped(0.1, kind="tensor"), Shifted())
    assert found.cause.name == "clipped tensor by tensor"


def test_entries_that_are_held_are_no_clipping_where_the_rest_is_no_weighting() -> None:
    def step(model, batch):
        clipped(0.05, kind="value")(model, batch)
        for parameter in model.parameters():
            wave = torch.sin(torch.arange(1.0, parameter.numel() + 1)).to(parameter).reshape(parameter.shape)
            parameter.grad *= torch.where(parameter.grad.abs() < 0.05, 0.999 + 0.001 * wave, 1.0)

    found = found_in(step)
    assert not found.linear
    assert found.cause is not None
    assert found.cause.name == "neither `losses` nor a sum over samples"


def test_a_gradient_where_no_unit_has_any_is_no_factor_for_its_tensor() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.idle = nn.Parameter(torch.ones(3))

        def forward(self, x):
            return x + 0 * self.idle.sum()

    def step(model, batch):
        clipped(0.1, kind="tensor")(model, batch)
        model[1].idle.grad = torch.ones_like(model[1].idle)

    found = found_in(step, Idle())
    assert not found.linear
    assert found.cause is not None
    assert found.cause.name == "neither `losses` nor a sum over samples"
    assert found_in(clipped(0.1, kind="tensor"), Idle()).cause.name == "clipped tensor by tensor"
