"""Causes that come together are found together; an experiment that fails ends nothing."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from suite.recovery import recover
from suite.recovery.eval_copy import in_eval_mode
from tests.recovery.steps import losses, mean, setting


def penalised(model, batch) -> None:
    penalty = sum(p.square().sum() for p in model.parameters())
    (losses(model, batch).mean() + 0.005 * penalty).backward()


def clipped(norm: float, value: float | None = None):
    def step(model, batch) -> None:
        mean(model, batch)
        if value is not None:
            nn.utils.clip_grad_value_(model.parameters(), value)
        else:
            nn.utils.clip_grad_norm_(model.parameters(), norm)

    return step


DROPOUT, NORM = nn.Dropout(0.3), nn.BatchNorm1d(24)


@pytest.mark.parametrize(
    ("step", "layers", "name"),
    [
        (penalised, (DROPOUT,), "dropout and an L2 term"),
        (penalised, (NORM,), "BatchNorm in train mode and an L2 term"),
        (clipped(0.05), (DROPOUT,), "dropout and clipped by norm"),
        (clipped(0.05), (NORM,), "BatchNorm in train mode and clipped by norm"),
        (clipped(0.0, 0.02), (DROPOUT,), "dropout and clipped by value"),
        (clipped(0.05), (NORM, DROPOUT), "dropout and BatchNorm in train mode and clipped by norm"),
        (clipped(1e9), (NORM,), "BatchNorm in train mode"),
    ],
)
def test_causes_that_come_together_are_found_together(step, layers, name) -> None:
    given = setting(8, *layers)
    found = recover(step, given.model, given.batch, losses)
    assert not found.linear
    assert found.cause.name == name
    assert found.cause.convention == "mean"


def test_clipping_that_only_batchnorm_brings_about_is_named() -> None:
    """The norm is above the threshold with BatchNorm, and below it without."""
    given = setting(8, nn.BatchNorm1d(24))
    batch = (0.01 * given.batch[0], given.batch[1])
    without, norm = (
        torch.cat([part.flatten() for part in torch.autograd.grad(
            losses(model, batch).mean(), list(model.parameters())
        )]).norm().item()
        for model in (in_eval_mode(given.model), given.model)
    )  # fmt: skip
    assert without < 0.95 * norm
    found = recover(clipped((without + norm) / 2), given.model, batch, losses)
    assert found.cause.name == "BatchNorm in train mode and clipped by norm"
    assert f"the norm stays at {(without + norm) / 2:.4g}" in found.cause.says
    assert (found.cause.convention, found.cause.scale) == ("mean", 1.0)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("reentrant", [True, False])
def test_dropout_under_activation_checkpointing_is_named(keep, reentrant) -> None:
    def step(model, batch) -> None:
        x = batch[0].requires_grad_()
        out = checkpoint(model, x, use_reentrant=reentrant, preserve_rng_state=keep)
        F.cross_entropy(out, batch[1]).backward()

    given = setting(8, nn.Dropout(0.3))
    found = recover(step, given.model, given.batch, losses)
    assert (found.cause.name, found.cause.convention, found.cause.scale) == ("dropout", "mean", 1.0)


def test_a_step_that_takes_no_experiment_is_still_reported() -> None:
    """It insists on its layers being as they are: each experiment fails."""

    def step(model, batch) -> None:
        hidden = model[:2](batch[0])
        if not (hidden == 0).any():
            raise ValueError("where is my dropout?")
        F.cross_entropy(model[2:](hidden), batch[1]).backward()

    given = setting(8, nn.Dropout(0.3))
    found = recover(step, given.model, given.batch, losses)
    assert not found.linear
    assert found.cause.name == "noise"  # what cannot be switched off can still be seen to change
    assert "no weighting" in str(found)


def test_a_step_that_fails_when_it_is_called_again_is_still_reported() -> None:
    calls = iter([1.0])

    def step(model, batch) -> None:
        penalised(model, batch)
        model[0].bias.grad.mul_(next(calls)).square_()

    given = setting()
    found = recover(step, given.model, given.batch, losses)
    assert not found.linear
    assert found.cause is None


def test_a_layer_that_the_step_does_not_call_is_not_suspected() -> None:
    class Idle(nn.Module):
        """It has dropout, for another head."""

        def __init__(self) -> None:
            super().__init__()
            self.other = nn.Dropout(0.5)

        def forward(self, x):
            return x

    def step(model, batch) -> None:
        penalised(model, batch)
        model[0].bias.grad.square_()

    given = setting(8, Idle())
    found = recover(step, given.model, given.batch, losses)
    assert not found.linear
    assert found.cause is not None
    assert found.cause.name == "neither `losses` nor a sum over samples"


def test_groups_of_tensors_that_are_clipped_each_as_one_are_told() -> None:
    def step(model, batch) -> None:
        mean(model, batch)
        weights = [p for p in model.parameters() if p.ndim > 1]
        nn.utils.clip_grad_norm_(weights, 0.05)

    given = setting()
    found = recover(step, given.model, given.batch, losses)
    assert found.cause.name == "clipped in groups of tensors"
    assert "2 tensors (0.weight, …) to 0.05; the other 2 are not clipped" in found.cause.says
    assert (found.cause.convention, found.cause.scale) == ("mean", 1.0)


def test_warnings_of_experiments_are_not_shown() -> None:
    """On one sample `std` warns, and it was not the user who asked for it."""

    def step(model, batch) -> None:
        x = batch[0]
        losses(model, ((x - x.mean(0)) / (x.std(0) + 1), batch[1])).mean().backward()

    given = setting()
    found = recover(step, given.model, given.batch, losses)
    assert not found.linear
    assert torch.isfinite(torch.tensor(found.residual))


def test_losses_that_take_no_part_of_their_batch_end_no_report() -> None:
    """They need a tensor of somebody else's, as long as the batch."""
    given = setting()
    beside = torch.rand(8, dtype=torch.float64)

    def of_all(model, batch):
        return beside * losses(model, batch)

    def step(model, batch) -> None:
        (beside * losses(model, batch)).square().mean().backward()
        for parameter in model.parameters():
            parameter.grad.sub_(parameter.grad.mean(0, keepdim=True))

    found = recover(step, given.model, given.batch, of_all)
    assert not found.linear
    assert "no weighting" in str(found)
