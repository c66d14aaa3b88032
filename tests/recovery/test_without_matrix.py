"""Weights that are solved for on few parameters are those that all gradients give, and are proven on all."""

from __future__ import annotations

import itertools
import math
import random
import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from suite.algebra.units import Units
from suite.errors import CaseError
from suite.recovery import assert_convention, attempt, recover, without_matrix
from suite.recovery import step as steps
from suite.recovery.hidden_state import may_hide
from tests.recovery import nets


@pytest.fixture(autouse=True)
def _always(monkeypatch) -> None:
    """However small the problem is."""
    monkeypatch.setattr(without_matrix, "FORMED", 0)


def both(monkeypatch, *problem, **options):
    few = recover(*problem, **options)
    with monkeypatch.context() as patched:
        patched.setattr(without_matrix, "FORMED", 1 << 60)
        return few, recover(*problem, **options)


def weighted(losses, column):
    def step(model, batch) -> None:
        entries = losses(model, batch)
        (torch.as_tensor(column).to(entries).view_as(entries) * entries).sum().backward()

    return step


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", list(nets.NETS))
def test_the_weights_are_those_of_all_gradients(monkeypatch, name: str, dtype: torch.dtype) -> None:
    made = nets.NETS[name]().cast(dtype)
    column = np.random.default_rng(0).uniform(0.5, 2, made.count)
    few, all_ = both(monkeypatch, weighted(made.losses, column), made.model, made.batch, made.losses)
    assert few.solved_on
    assert not all_.solved_on
    known = few.identifiable
    np.testing.assert_array_equal(known, all_.identifiable)
    assert (np.abs(few.weights - column)[known] <= few.error[known]).all()
    assert few.error[known].max() <= 4 * all_.error[known].max()
    assert (few.convention, few.linear, few.silent) == (all_.convention, all_.linear, all_.silent)


@pytest.mark.parametrize(("name", "chosen"), [(name, made().solved_on) for name, made in nets.NETS.items()])
def test_weights_are_solved_on_what_is_behind_the_last_layer_that_mixes(name: str, chosen: set[str]) -> None:
    made = nets.NETS[name]()
    found = recover(weighted(made.losses, np.ones(made.count)), made.model, made.batch, made.losses)
    assert found.solved_on
    assert {part.rpartition(".")[0] for part in found.solved_on} <= chosen
    assert (found.convention.name, found.scale) == ("sum", 1.0)


@settings(max_examples=max(settings.default.max_examples // 6, 5), deadline=None)
@given(seed=st.integers(0, 2**16), sequences=st.integers(2, 5), single=st.booleans())
def test_any_weights_come_back(seed: int, sequences: int, single: bool) -> None:
    made = nets.tokens(sequences).cast(torch.float32 if single else torch.float64)
    rng = np.random.default_rng(seed)
    column = rng.normal(size=made.count) * rng.choice([0.0, 1.0, 1e-3, 10.0], made.count)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(without_matrix, "FORMED", 0)
        few, all_ = both(patched, weighted(made.losses, column), made.model, made.batch, made.losses)
    assert few.solved_on
    assert (np.abs(few.weights - column) <= few.error).all()
    assert few.error.max() <= 4 * all_.error.max()


def dropped(model, batch) -> None:
    made = nets.tokens()
    x = model.words(batch[0])
    for block in model.blocks:
        x = block(F.dropout(x, 0.3))
    entries = F.cross_entropy(model.head(model.norm(x)).transpose(1, 2), batch[1], reduction="none")
    assert entries.numel() == made.count
    entries.mean().backward()


def test_a_step_that_is_no_weighting_is_refused_with_its_cause(monkeypatch) -> None:
    made = nets.tokens().cast(torch.float64)
    few, all_ = both(monkeypatch, dropped, made.model, made.batch, made.losses)
    assert not few.solved_on
    assert not few.linear
    assert (few.cause.name, few.residual) == (all_.cause.name, all_.residual)


def test_pieces_give_what_the_whole_batch_gives(monkeypatch) -> None:
    made = nets.experts().cast(torch.float64)
    column = np.random.default_rng(1).uniform(0.5, 2, made.count)
    problem = weighted(made.losses, column), made.model, made.batch, made.losses
    whole = recover(*problem)
    monkeypatch.setattr(attempt, "LEAST_PIECE", 0)
    monkeypatch.setattr(attempt.Attempt, "pieces", [slice(0, 1), slice(1, 3)])
    pieces = recover(*problem)
    assert pieces.solved_on
    np.testing.assert_allclose(pieces.weights, whole.weights, rtol=1e-9)


def test_losses_that_couple_samples_are_not_taken_in_pieces(monkeypatch) -> None:
    made = nets.tokens().cast(torch.float64)

    def coupled(model, batch):
        entries = made.losses(model, batch)
        return entries / entries.detach().mean()

    monkeypatch.setattr(attempt.Attempt, "pieces", [slice(0, 1), slice(1, 3)])
    found = recover(weighted(coupled, np.ones(made.count)), made.model, made.batch, coupled)
    assert not found.solved_on
    assert (found.convention.name, found.scale) == ("sum", 1.0)


@pytest.mark.parametrize(
    ("name", "spoilt"),
    [
        ("a sequence counted twice", lambda w: w * np.array([[2.0], [1.0], [1.0]])),
        ("a token lost", lambda w: w * (np.arange(w.size).reshape(w.shape) != 7)),
        ("a rank scaled", lambda w: w * np.array([[1.0], [1.0], [0.5]])),
    ],
)
def test_what_is_wrong_with_tokens_is_seen(name: str, spoilt) -> None:
    made = nets.tokens()
    weights = spoilt(np.full((3, 6), 1 / 18))
    units = Units.of(3, {"rank": [0, 0, 1]}, parts=tuple(f"t{i}" for i in range(6)))
    found = recover(weighted(made.losses, weights), made.model, made.batch, made.losses, units=units)
    assert found.solved_on
    np.testing.assert_allclose(found.weights, weights.ravel(), atol=1e-6)
    assert found.scale != 1.0 or found.fault is not None


def test_samples_of_a_convolution_are_solved_on_small_parameters() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.GroupNorm(2, 8),
        nn.Tanh(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 2),
    )
    batch = torch.randn(24, 1, 8, 8), torch.randint(2, (24,))

    def losses(model, batch):
        return F.cross_entropy(model(batch[0]), batch[1], reduction="none")

    found = recover(
        lambda m, b: losses(m, b).mean().backward(), model.double(), (batch[0].double(), batch[1]), losses
    )
    assert found.solved_on
    assert found.convention.name == "mean"


def test_a_regulariser_is_a_unit_here_too() -> None:
    made = nets.tokens().cast(torch.float64)

    def penalty(model):
        return sum(p.square().sum() for p in model.parameters())

    def step(model, batch) -> None:
        (made.losses(model, batch).mean() + 0.25 * penalty(model)).backward()

    found = recover(step, made.model, made.batch, made.losses, regulariser=penalty)
    assert found.solved_on
    np.testing.assert_allclose(found.weights, [*[1 / 18] * 18, 0.25], rtol=1e-9)


def test_a_clip_threshold_asks_for_all_gradients() -> None:
    made = nets.tokens()
    units = Units.of(3, parts=tuple(f"t{i}" for i in range(6)), max_norm=1.0)
    found = recover(weighted(made.losses, np.ones(18)), made.model, made.batch, made.losses, units=units)
    assert not found.solved_on


def clocked(model, batch) -> None:
    time.sleep(0)
    nets.of_tokens(model, batch).mean().backward()


def plain(model, batch) -> None:
    nets.of_tokens(model, batch).mean().backward()


@pytest.mark.parametrize(
    ("value", "hides"),
    [
        (plain, False), (clocked, True), (itertools.count(), True), (iter([1]), True), (torch.ones(2), False),
        (nn.Linear(1, 1), False), (np.random.default_rng(0), False), (nets.Made, False), ([], False),
        (nets.Made.__repr__, False), (itertools.pairwise, False), (itertools.pairwise.__next__, False),
        (iter([1]).__next__, True), (random.random, True), (time.monotonic, True), (math.exp, False),
        (id, True),
    ],
)  # fmt: skip
def test_what_cannot_be_put_back_is_known(value, hides: bool) -> None:
    assert may_hide(value) is hides


@pytest.mark.parametrize(("step", "calls"), [(plain, 1), (clocked, 2)])
def test_a_step_that_can_keep_nothing_is_called_once(monkeypatch, step, calls: int) -> None:
    made, counted = nets.tokens(), []
    original = steps.left_by
    monkeypatch.setattr(
        steps, "left_by", lambda *given, **how: (counted.append(1), original(*given, **how))[1]
    )
    found = recover(step, made.model, made.batch, made.losses)
    assert (found.convention.name, found.cause) == ("element-mean", None)
    assert len(counted) == calls


def one_lost() -> np.ndarray:
    return (np.arange(18) != 7) / 18


def test_what_cannot_fit_is_said_by_an_assertion_too() -> None:
    made = nets.tokens()
    step = weighted(made.losses, one_lost())
    with pytest.raises(CaseError, match="are allowed, and no formula within groups"):
        assert_convention(step, made.model, made.batch, made.losses, "sum", memory=1000)


def test_what_cannot_fit_is_said_before_it_begins() -> None:
    made = nets.tokens()
    uneven = weighted(made.losses, one_lost())
    says = r"18 units take 18³ operations and matrices of 7.78 kB, where 6 units are allowed"
    with pytest.raises(CaseError, match=says):
        recover(uneven, made.model, made.batch, made.losses, memory=1000)
    with pytest.raises(CaseError, match=r"all their gradients take \d+ kB, where 50 kB are allowed"):
        recover(dropped, made.model, made.batch, made.losses, memory=50_000)
    assert recover(uneven, made.model, made.batch, made.losses, memory=50_000).solved_on
