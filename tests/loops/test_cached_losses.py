"""Losses that are computed once a batch give what they give when they are computed again."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from suite.loops.cached_losses import CachedLosses

BATCH = (torch.randn(5, 6), torch.tensor([0, 2, 1, 1, 0]))


class Counted:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, model, batch):
        self.calls += 1
        return F.cross_entropy(model(batch[0]), batch[1], reduction="none")


def gradients(losses, model, batch, weights):
    model.zero_grad()
    (losses(model, batch) * weights).sum().backward()
    return [p.grad.clone() for p in model.parameters()]


def test_gradients_are_the_same_to_the_last_bit_and_computed_once() -> None:
    model, plain = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)), Counted()
    replay = CachedLosses(plain)
    for weights in (torch.ones(5), torch.rand(5), torch.ones(5)):
        expected = gradients(Counted(), model, BATCH, weights)
        for got, want in zip(gradients(replay, model, BATCH, weights), expected, strict=True):
            assert torch.equal(got, want)
    assert plain.calls == 1


def test_what_a_loop_does_to_its_gradients_is_not_remembered() -> None:
    model, replay = nn.Linear(6, 3), CachedLosses(Counted())
    first = torch.autograd.grad(replay(model, BATCH).sum(), list(model.parameters()))
    kept = [g.clone() for g in first]
    for g in first:
        g.zero_()
    again = torch.autograd.grad(replay(model, BATCH).sum(), list(model.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(again, kept, strict=True))


def test_other_batches_models_and_parameters_are_computed_anew() -> None:
    model, plain = nn.Linear(6, 3), Counted()
    replay = CachedLosses(plain)
    replay(model, BATCH)
    replay(model, (BATCH[0].clone(), BATCH[1].clone()))
    assert plain.calls == 1
    replay(model, (BATCH[0] + 1, BATCH[1]))
    replay(model, (BATCH[0][:2], BATCH[1][:2]))
    replay(nn.Linear(6, 3), BATCH)
    replay(model.bfloat16(), (BATCH[0].bfloat16(), BATCH[1]))
    with torch.no_grad():
        model.weight.add_(1)
    replay(model, (BATCH[0].bfloat16(), BATCH[1]))
    assert plain.calls == 6


def test_gradients_beyond_what_may_be_kept_are_right_and_computed_again(monkeypatch) -> None:
    monkeypatch.setattr("suite.loops.cached_losses.CACHED_BYTES", 84)  # bytes: the gradients of one weighting
    model, replay = nn.Linear(6, 3), CachedLosses(Counted())
    first, second = torch.ones(5), torch.arange(5.0)
    for weights in (first, second, first, second):
        expected = gradients(Counted(), model, BATCH, weights)
        for got, want in zip(gradients(replay, model, BATCH, weights), expected, strict=True):
            assert torch.equal(got, want)
    (tape,) = replay._tapes.values()
    assert len(tape.pulled) == 1


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(6, 2, 12, dropout=0.0, activation="gelu", batch_first=True)
    return nn.Sequential(nn.Unflatten(1, (1, 6)), layer, nn.Flatten(), nn.Linear(6, 3))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_weights_that_differ_by_a_power_of_two_are_one_backward_pass_and_the_same_bits(dtype) -> None:
    model, batch = transformer().to(dtype), (BATCH[0].to(dtype), BATCH[1])
    replay, weights = CachedLosses(Counted()), torch.rand(5, dtype=dtype)
    for exponent in (0, -7, 3, -1):
        expected = gradients(Counted(), model, batch, weights * 2.0**exponent)
        for got, want in zip(gradients(replay, model, batch, weights * 2.0**exponent), expected, strict=True):
            assert torch.equal(got, want)
    (tape,) = replay._tapes.values()
    assert len(tape.pulled) == 1


def test_a_format_of_few_exponents_has_every_weighting_computed() -> None:
    model, batch = nn.Linear(6, 3).half(), (BATCH[0].half(), BATCH[1])
    replay = CachedLosses(Counted())
    for scale in (1.0, 2.0**-12):  # of which products underflow
        weights = torch.full((5,), scale, dtype=torch.half)
        expected = gradients(Counted(), model, batch, weights)
        for got, want in zip(gradients(replay, model, batch, weights), expected, strict=True):
            assert torch.equal(got, want)
    (tape,) = replay._tapes.values()
    assert len(tape.pulled) == 2


@pytest.mark.parametrize("weight", [0.0, 2.0**-70, 2.0**80, float("inf"), float("nan")])
def test_weights_of_any_size_give_what_they_give(weight: float) -> None:
    model, replay = nn.Linear(6, 3), CachedLosses(Counted())
    for weights in (torch.ones(5), torch.full((5,), weight), torch.full((5,), weight * 2)):
        expected = gradients(Counted(), model, BATCH, weights)
        for got, want in zip(gradients(replay, model, BATCH, weights), expected, strict=True):
            assert torch.equal(got.nan_to_num(7), want.nan_to_num(7))


def test_a_forward_pass_without_gradients_is_not_remembered() -> None:
    model, plain = nn.Linear(6, 3), Counted()
    replay = CachedLosses(plain)
    with torch.no_grad():
        replay(model, BATCH)
        replay(model, BATCH)
    assert plain.calls == 2


def test_a_penalty_is_remembered_as_losses_are_and_beside_them() -> None:
    model, calls = nn.Linear(6, 3), []

    def penalty(model: nn.Module) -> torch.Tensor:
        calls.append(1)
        return model.weight.square().sum()

    replay = CachedLosses(Counted(), penalty=penalty)
    for scale in (1.0, 3.0):
        found = torch.autograd.grad(
            replay(model, BATCH).sum() + scale * replay.regulariser(model), list(model.parameters())
        )
        wanted = torch.autograd.grad(
            Counted()(model, BATCH).sum() + scale * model.weight.square().sum(), list(model.parameters())
        )
        assert all(map(torch.equal, found, wanted))
    assert len(calls) == 1
    with torch.no_grad():
        model.weight.zero_()
    assert replay.regulariser(model) == 0
