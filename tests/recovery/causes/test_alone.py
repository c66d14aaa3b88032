"""Steps that couple samples and steps that minimise something else are told apart on single samples."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from suite.recovery import recover
from tests.recovery.steps import losses, mean, setting

N = 8


def masks() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 10)).double()
    share = torch.linspace(0.1, 0.8, N)[:, None]
    return model, (torch.randn(N, 6, dtype=torch.float64), (torch.rand(N, 10) < share).double())


def overlap(p, y, axes):
    return 1 - (2 * (p * y).sum(axes) + 1) / ((p + y).sum(axes) + 1)


def jaccard(p, y, axes):
    both = (p * y).sum(axes)
    return 1 - (both + 1) / ((p + y).sum(axes) - both + 1)


def tversky(p, y, axes):
    hit = (p * y).sum(axes)
    return 1 - (hit + 1) / (hit + 0.3 * (p * (1 - y)).sum(axes) + 0.7 * ((1 - p) * y).sum(axes) + 1)


@pytest.mark.parametrize("ratio", [overlap, jaccard, tversky])
def test_a_ratio_over_the_batch_couples_the_samples_and_one_per_image_does_not(ratio) -> None:
    def per_image(model, batch):
        return ratio(torch.sigmoid(model(batch[0])), batch[1], 1)

    def over_batch(model, batch) -> None:
        ratio(torch.sigmoid(model(batch[0])), batch[1], (0, 1)).backward()

    found = recover(over_batch, *masks(), per_image)
    assert not found.linear
    assert found.cause.name == "the step couples the samples"
    assert "on each of 6 samples alone it is a weighting" in found.cause.says
    found = recover(lambda m, b: per_image(m, b).mean().backward(), *masks(), per_image)
    assert (found.convention.name, found.scale, found.cause) == ("mean", 1.0, None)


def test_a_step_that_needs_two_samples_is_run_on_halves() -> None:
    def over_batch(model, batch) -> None:
        if len(batch[0]) < 2:
            raise ValueError("expected more than 1 value")
        p, y = torch.sigmoid(model(batch[0])), batch[1]
        quarters = [slice(i, i + N // 2) for i in range(0, len(p), N // 2)]
        first = torch.stack([overlap(p[q], y[q], 1).mean() for q in quarters])
        first.square().sum().sqrt().backward() if len(first) == 1 else (p * p.mean(0)).sum().backward()

    def per_image(model, batch):
        return overlap(torch.sigmoid(model(batch[0])), batch[1], 1)

    found = recover(over_batch, *masks(), per_image)
    assert found.cause.name == "the step couples the samples"
    assert "on each half of the batch" in found.cause.says


def contrast(model, batch) -> None:
    a, b = model(batch[0]), batch[1]
    F.cross_entropy(a @ b.T, torch.arange(len(a))).backward()


def hardest(model, batch) -> None:
    out = F.normalize(model(batch[0]))
    apart = torch.cdist(out, out) + 9 * torch.eye(len(out), dtype=out.dtype)
    F.relu(1.5 - apart.min(1).values).mean().backward()


@pytest.mark.parametrize("step", [contrast, hardest])
def test_a_step_that_leaves_nothing_on_any_sample_alone_couples_the_samples(step) -> None:
    def own(model, batch):
        return F.mse_loss(model(batch[0]), batch[1], reduction="none").sum(1)

    found = recover(step, *masks(), own)
    assert found.cause.name == "the step couples the samples"
    assert "on any sample alone its gradient is zero" in found.cause.says


def smoothed(model, batch, reduction):
    return F.cross_entropy(model(batch[0]), batch[1], label_smoothing=0.1, reduction=reduction)


def hinge(model, batch, reduction):
    return F.multi_margin_loss(model(batch[0]), batch[1], reduction=reduction)


def shifted(model, batch, reduction):
    return F.cross_entropy(model(batch[0] + 0.1), batch[1], reduction=reduction)


@pytest.mark.parametrize("other", [smoothed, hinge, shifted])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_another_function_is_told_with_the_weights_of_the_steps_own_samples(other, reduction) -> None:
    given = setting()
    found = recover(
        lambda model, batch: other(model, batch, reduction).backward(), given.model, given.batch, losses
    )
    assert not found.linear
    assert found.cause.name == "`losses` is not what the step minimises"
    assert (found.cause.convention, found.cause.scale) == (reduction, 1.0)
    assert "is no multiple of that of `losses`" in found.cause.says


def test_another_function_of_two_terms_has_no_weights_of_theirs() -> None:
    def two(model, batch):
        return torch.stack([losses(model, batch), model(batch[0]).square().sum(1)], 1)

    given = setting()
    found = recover(lambda m, b: smoothed(m, b, "mean").backward(), given.model, given.batch, two)
    assert found.cause.name == "`losses` is not what the step minimises"
    assert (found.cause.convention, found.cause.weights) == ("mean", None)


def test_a_term_that_is_no_sum_over_samples_beside_another_function_is_told_as_neither() -> None:
    def step(model, batch) -> None:
        out = model(batch[0])
        (smoothed(model, batch, "mean") + (out.var(0, correction=0).sum() + 1).sqrt()).backward()

    given = setting()
    cause = recover(step, given.model, given.batch, losses).cause
    assert cause is not None
    assert cause.name == "neither `losses` nor a sum over samples"
    assert cause.weights is None


def test_a_step_that_takes_no_single_sample_and_is_no_weighting_on_halves_says_both() -> None:
    """Barlow Twins and its like divide by a deviation over the batch, which one sample does not have."""

    def step(model, batch) -> None:
        out = model(batch[0])
        out = (out - out.mean(0)) / out.std(0)
        (out.T @ out / len(out) - torch.eye(out.shape[1])).square().sum().backward()

    given = setting()
    found = recover(step, given.model, given.batch, losses)
    assert found.cause.name == "coupled samples or another function"
    assert "takes no single sample" in found.cause.says


def test_a_batch_of_one_sample_couples_nothing() -> None:
    given = setting(1)
    found = recover(lambda m, b: smoothed(m, b, "mean").backward(), given.model, given.batch, losses)
    assert found.cause is None


def centred(model, batch) -> None:
    """Gradient centralisation: each row's mean is taken out."""
    mean(model, batch)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.grad.sub_(parameter.grad.mean(1, keepdim=True))


def masked(model, batch) -> None:
    """A sparse update: half of each tensor is not trained."""
    mean(model, batch)
    for parameter in model.parameters():
        parameter.grad.flatten()[::2] = 0


def detached(model, batch) -> None:
    """A self-distillation whose target is detached, beside the loss that is meant."""
    out = model(batch[0])
    (F.cross_entropy(out, batch[1]) + (out - 2 * out.detach().roll(1, 1)).square().sum(1).mean()).backward()


def test_masked_entries_are_named() -> None:
    given = setting()
    found = recover(masked, given.model, given.batch, losses)
    assert (found.cause.name, found.cause.convention) == ("entries set to zero", "mean")


@pytest.mark.parametrize("step", [centred, detached])
def test_a_gradient_of_no_function_is_not_said_to_minimise_another_one(step) -> None:
    given = setting()
    found = recover(step, given.model, given.batch, losses)
    assert not found.linear
    assert found.cause.name == "the gradient of no function"
    assert (found.cause.convention, found.cause.scale) == ("mean", 1.0)


def test_a_derivative_too_small_to_ask_leaves_both_possible() -> None:
    """A linear model and a linear loss: no Hessian."""
    torch.manual_seed(0)
    model, x = nn.Linear(6, 4).double(), torch.randn(N, 6, dtype=torch.float64)

    def given(model, batch):
        return model(batch).sum(1)

    def step(model, batch) -> None:
        (model(batch) * torch.arange(4.0)).sum(1).mean().backward()

    found = recover(step, model, x, given)
    assert found.cause.name == "not the gradient of `losses`"
    assert "or changes gradients" in found.cause.says
