"""Units that are too many to be solved for one by one: groups first, a formula within them, proven on all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from suite.algebra.units import Units
from suite.errors import CaseError
from suite.recovery import many_units, recover, without_matrix
from suite.recovery.formed_rows import FormedRows
from suite.recovery.in_groups import groupings_of
from suite.recovery.unit_rows import UnitRows
from tests.recovery import nets

PARTS = tuple(f"t{place}" for place in range(6))


@pytest.fixture(autouse=True)
def _few(monkeypatch) -> None:
    """However small the problem is, it is too large."""
    monkeypatch.setattr(without_matrix, "FORMED", 0)
    monkeypatch.setattr(many_units, "MOST_UNITS", 9)


def weighted(losses, column):
    def step(model, batch) -> None:
        entries = losses(model, batch)
        (torch.as_tensor(column).to(entries).view_as(entries) * entries).sum().backward()

    return step


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", list(nets.NETS))
def test_a_weight_for_each_sample_comes_back(name: str, dtype: torch.dtype) -> None:
    made = nets.NETS[name]().cast(dtype)
    samples = len(made.losses(made.model, made.batch))
    column = np.repeat(np.random.default_rng(0).uniform(0.5, 2, samples), made.count // samples)
    if samples == made.count:  # nodes: two stretches of seven
        column = np.repeat([0.5, 2.0], 7)
    units = Units.of(samples, {"rank": [0] * 7 + [1] * 7}, world_size=2) if samples == made.count else None
    found = recover(weighted(made.losses, column), made.model, made.batch, made.losses, units=units)
    assert found.within == ("rank" if samples == made.count else "sample")
    known = found.identifiable
    assert known.sum() + len(found.silent) == made.count
    assert (np.abs(found.weights - column)[known] <= found.error[known]).all()
    assert found.error[known].max() <= (1e-4 if dtype is torch.float32 else 1e-9)


@pytest.mark.parametrize("name", ["masked tokens", "a mixture of experts"])
def test_what_is_said_is_what_all_gradients_say(monkeypatch, name: str) -> None:
    made = nets.NETS[name]().cast(torch.float64)
    valid = (made.batch[-1] != -100).double()
    units = Units.of(
        len(valid), {"elements": valid, "positions": 1}, parts=tuple(map(str, range(valid.shape[1])))
    )
    for weights in (valid / valid.sum(), valid / valid.sum(1, keepdim=True) / len(valid), valid):
        problem = weighted(made.losses, weights.flatten()), made.model, made.batch, made.losses
        grouped = recover(*problem, units=units)
        with monkeypatch.context() as patched:
            patched.setattr(many_units, "MOST_UNITS", 1 << 14)
            patched.setattr(without_matrix, "FORMED", 1 << 60)
            each = recover(*problem, units=units)
        assert (grouped.within, each.within) == ("sample", "")
        np.testing.assert_array_equal(grouped.silent, each.silent)
        np.testing.assert_allclose(grouped.weights, each.weights, rtol=1e-8)
        assert (grouped.names, grouped.scale) == (each.names, each.scale)
        assert str(grouped.formula) == str(each.formula)
        assert "That no other weights have this gradient is not shown." in str(grouped)


def test_weights_of_tokens_are_the_formula_within_a_sequence() -> None:
    made = nets.tokens().cast(torch.float64)
    weight = np.random.default_rng(0).uniform(0.5, 2, (3, 6))
    units = Units.of(3, {"weight": weight}, parts=PARTS)
    step = weighted(made.losses, weight / weight.sum())
    found = recover(step, made.model, made.batch, made.losses, units=units)
    assert found.within == "sample"
    np.testing.assert_allclose(found.weights, (weight / weight.sum()).ravel(), rtol=1e-9)
    assert "weighted-mean" in found.names


@pytest.mark.parametrize(
    ("name", "factors"), [("a sequence counted twice", [2, 1, 1]), ("a rank scaled", [1, 1, 0.5])]
)
def test_groups_that_are_wrong_are_seen(name: str, factors: list[float]) -> None:
    made = nets.tokens()
    column = np.repeat(factors, 6) / 18
    units = Units.of(3, {"rank": [0, 0, 1]}, parts=PARTS, world_size=2)
    found = recover(weighted(made.losses, column), made.model, made.batch, made.losses, units=units)
    assert found.within == "sample"
    np.testing.assert_allclose(found.weights, column, atol=1e-6)
    assert found.scale != 1.0 or found.fault is not None


def test_a_token_that_is_lost_is_no_formula_within_groups() -> None:
    made = nets.tokens()
    step = weighted(made.losses, np.arange(18) != 7)
    with pytest.raises(CaseError, match=r"where 9 units are allowed, and no formula within groups"):
        recover(step, made.model, made.batch, made.losses)


def test_norms_of_too_many_units_are_refused_without_a_word_of_groups() -> None:
    made = nets.tokens()
    units = Units.of(3, parts=PARTS, max_norm=1.0)
    with pytest.raises(CaseError, match=r"where 9 units are allowed: allow more"):
        recover(weighted(made.losses, np.ones(18)), made.model, made.batch, made.losses, units=units)


def samples(count: int = 24):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 3)).double()
    return model, (torch.randn(count, 5).double(), torch.randint(3, (count,)))


def of_samples(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1], reduction="none")


def test_micro_batches_on_ranks_are_groups_of_samples() -> None:
    model, batch = samples()
    microbatch, rank = np.repeat([0, 1, 0, 1], [4, 8, 6, 6]), np.repeat([0, 1], 12)
    units = Units.of(24, {"microbatch": microbatch, "rank": rank}, window=2, world_size=2)
    column = np.repeat([1 / 4, 1 / 8, 1 / 6, 1 / 6], [4, 8, 6, 6]) / 4
    found = recover(weighted(of_samples, column), model, batch, of_samples, units=units)
    assert found.within == "micro-batch on a rank"
    np.testing.assert_allclose(found.weights, column, rtol=1e-9)


def test_samples_that_nobody_put_into_groups_are_taken_a_stretch_at_a_time() -> None:
    model, batch = samples()
    column = np.repeat([1.0, 0.5], 12) / 24
    found = recover(weighted(of_samples, column), model, batch, of_samples)
    assert found.within == "3 samples in a row"
    np.testing.assert_allclose(found.weights, column, rtol=1e-9)


def test_a_regulariser_has_its_weight_beside_the_groups() -> None:
    made = nets.tokens().cast(torch.float64)

    def penalty(model):
        return sum(p.square().sum() for p in model.parameters())

    def step(model, batch) -> None:
        (made.losses(model, batch).mean() + 0.25 * penalty(model)).backward()

    found = recover(step, made.model, made.batch, made.losses, regulariser=penalty)
    assert found.within == "sample"
    np.testing.assert_allclose(found.weights, [*[1 / 18] * 18, 0.25], rtol=1e-9)


def test_groups_are_solved_for_in_pieces_too(monkeypatch) -> None:
    made = nets.experts().cast(torch.float64)
    column = np.repeat([1.0, 3.0, 0.5], 6)
    monkeypatch.setattr("suite.recovery.attempt.Attempt.pieces", [slice(0, 1), slice(1, 3)])
    found = recover(weighted(made.losses, column), made.model, made.batch, made.losses)
    assert found.within == "sample"
    np.testing.assert_allclose(found.weights, column, rtol=1e-9)


def test_more_samples_than_parameters_are_a_weighting_in_groups() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 1).double()
    batch = torch.randn(64, 3).double(), torch.randn(64, 1).double()

    def losses(model, batch):
        return (model(batch[0]) - batch[1]).square()[:, 0]

    units = Units.of(64, {"rank": np.repeat([0, 1], 32)}, world_size=2)
    found = recover(weighted(losses, np.full(64, 1 / 64)), model, batch, losses, units=units)
    assert (found.within, found.convention.name) == ("rank", "mean")


def test_the_smallest_groups_are_tried_first() -> None:
    units = Units.of(4, {"rank": [1, 1, 0, 0]}, parts=("a", "b"), world_size=2)
    assert [(one.name, one.count) for one in groupings_of(units, 8, 9)] == [("sample", 4), ("rank", 2)]
    assert [(one.name, one.count) for one in groupings_of(units, 8, 3)] == [("rank", 2)]
    stretches = groupings_of(Units.of(130), 130, 1000)
    assert [(one.name, one.count) for one in stretches] == [("5 samples in a row", 26)]


@given(st.integers(0, 2**16), st.booleans())
def test_random_directions_keep_lengths(seed: int, biased: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(12, size, generator=generator, dtype=torch.float64) for size in (5, 4))
    unit = torch.arange(12) // 2
    rows = UnitRows("w", "b" if biased else None, False, a, b, unit)
    last = {"w": torch.randn(4, 5, generator=generator, dtype=torch.float64), "b": torch.randn(4).double()}
    own = [sum(torch.outer(b[r], a[r]) for r in (2 * u, 2 * u + 1)) for u in range(6)]
    flat = [torch.cat([m.flatten(), b[2 * u : 2 * u + 2].sum(0) * biased]) for u, m in enumerate(own)]
    flat.append(torch.cat([last["w"].flatten(), last["b"] * biased]))
    formed = FormedRows({"w": torch.stack([m.flatten() for m in own])})
    column = torch.randn(7, generator=generator, dtype=torch.float64)
    for found, exact in (
        (rows.sketch(6, 4096, generator, last) @ column, torch.stack(flat).T @ column),
        (formed.sketch(6, 4096, generator) @ column[:6], formed.blocks["w"].T @ column[:6]),
    ):
        assert float(found.norm() / exact.norm()) == pytest.approx(1.0, abs=0.25)


def test_grouped_rows_are_the_weighted_sums() -> None:
    a, b, weights = torch.randn(6, 5).double(), torch.randn(6, 4).double(), torch.rand(6).double()
    group = torch.tensor([1, 0, 1, 2, 0, 2])
    outer = torch.einsum("ri,rj->rij", b, a)
    expected = outer.new_zeros(3, 4, 5).index_add_(0, group, outer * weights[:, None, None])
    gram = expected.flatten(1) @ expected.flatten(1).T
    for rows in (UnitRows("w", None, False, a, b, torch.arange(6)), FormedRows({"w": outer})):
        total = torch.zeros(3, 3).double()
        rows.grouped(group, weights).add_gram(total)
        torch.testing.assert_close(total.tril(), gram.tril())
