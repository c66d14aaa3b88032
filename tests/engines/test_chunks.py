"""Unit gradients computed in pieces are those computed at once, whatever the memory; and they keep to it."""

from __future__ import annotations

import copy
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import suite
from suite.engines import engines, memory_plan
from suite.engines.chunks import Chunked, Job, ParameterGroup
from suite.engines.engine import Refused
from suite.engines.per_sample_gradients import require_memory
from suite.engines.size import size_of
from suite.errors import CaseError
from suite.loops import batch as batches
from suite.machine.allocations import peak_tensor_bytes, saved_for_backward_bytes
from suite.strategies import Problem, problems


def cross_entropy(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1], reduction="none")


def job(engine, model, batch, losses, limits: list[int]) -> Job:
    """Passes over so many samples at most, of as many groups of parameters as there are limits."""
    samples = batches.size(batch)
    units = losses(model, batch).numel()
    used = torch.autograd.grad(
        losses(model, batch).sum(), trained := [p for p in model.parameters() if p.requires_grad],
        allow_unused=True,
    )  # fmt: skip
    known = {id(p) for p, g in zip(trained, used, strict=True) if g is not None}
    names = [name for name, p in model.named_parameters() if id(p) in known]
    places = np.array_split(np.arange(len(names)), min(len(limits), len(names)))
    memory = 10_000
    groups = [
        ParameterGroup(frozenset(names[k] for k in some), 1, pair=memory - (limit - 2) * 100, each=100)
        for some, limit in zip(places, limits, strict=False)
    ]
    built = Job(engine, model, batch, losses, samples, units // samples, groups, memory)
    with mock.patch.object(Job, "pass_memory", memory):
        assert [g.fits(memory) for g in groups] == limits[: len(groups)]
    return built


def distance(ours, theirs) -> float:
    """Relative to the largest."""
    ours, theirs = (np.asarray(x) for x in (ours, theirs))
    return float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-30))


@pytest.mark.parametrize("name", engines.names)
@given(
    problem=problems(max_samples=7),
    limits=st.lists(st.integers(2, 6), min_size=1, max_size=4),
    regularised=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=25)
def test_results_do_not_depend_on_what_is_computed_at_a_time(
    name: str, problem: Problem, limits: list[int], regularised: bool, seed: int
) -> None:
    model, batch, losses = problem.build()
    engine = engines[name]
    try:
        whole = engine.compute(copy.deepcopy(model), batch, losses)
        pieces = Chunked(job(engine, model, batch, losses, limits))
        if regularised:
            theta = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
            whole, pieces = whole.append(theta), pieces.append(theta)
        with (
            mock.patch.object(Job, "pass_memory", 10_000),
            mock.patch("suite.engines.chunks.reduction_bytes", return_value=0),
        ):
            gram = pieces.gram()
            coefficients = np.random.default_rng(seed).normal(size=(3, len(gram)))
            reduced = pieces.reduce(coefficients)
            weights, directions = pieces.directions(coefficients)
    except Refused:
        return  # an engine that cannot do this problem at all, or some of its parameters
    if name == "opacus":
        expected = engines["loop"].compute(copy.deepcopy(model), batch, losses)
        expected = expected.append(theta) if regularised else expected
        if distance(whole.gram(), expected.gram()) > 1e-9:
            return  # it is silently wrong, in its own way for each batch: what the check is for
    assert pieces.shape == whole.shape
    assert distance(gram, whole.gram()) < 1e-12
    assert distance(reduced, whole.reduce(coefficients)) < 1e-12
    assert distance(weights @ directions, whole.reduce(coefficients)) < 1e-12


class Wide(nn.Module):
    """Its second weight is most of it; one parameter is used by nobody, one is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 300), nn.Tanh(), nn.Linear(300, 4)
        )
        self.body[0].bias.requires_grad_(False)
        self.unused = nn.Linear(3, 3)

    def forward(self, x):
        return self.body(x)


def wide() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    return Wide().double(), (torch.randn(40, 6, dtype=torch.float64), torch.randint(4, (40,)))


@pytest.mark.parametrize("name", engines.names)
def test_gradients_keep_to_the_memory_that_they_are_given(name: str) -> None:
    model, batch = wide()
    whole = suite.per_sample_gradients(model, batch, cross_entropy, engine=name)
    columns = np.random.default_rng(0).normal(size=(3, 41))
    penalty = lambda m: sum(p.square().sum() for p in m.parameters())  # noqa: E731
    idle = [*model.parameters(), *batch]
    chunks = []
    for memory in (6_000_000, 4_000_000):
        kept = []

        def action(memory=memory, kept=kept) -> object:
            found = suite.per_sample_gradients(
                model, batch, cross_entropy, engine=name, regulariser=penalty, memory=memory
            )
            kept[:] = [found, found.gram(), found.directions(columns)]
            return kept

        most, _ = peak_tensor_bytes(action, idle)
        found, gram, (weights, directions) = kept
        assert most <= memory
        assert (found.engine, dict(found.refused)) == (name, {})
        chunks.append(found.chunks)
        assert distance(gram[:-1, :-1], whole.gram()) < 1e-12
        data = columns[:, :-1] @ whole.matrix.numpy()
        theta = torch.cat([
            (2 * p.detach()).flatten() for p in model.parameters() if p.requires_grad
        ])  # fmt: skip
        expected = data + columns[:, -1:] * theta.numpy()
        assert distance(weights @ directions, expected) < 1e-12
    assert chunks == sorted(chunks)
    assert (chunks[-1] > 1) == engines[name].materialises


def test_what_does_not_fit_says_how_much_it_needs_and_that_much_is_enough() -> None:
    model, batch = wide()
    with pytest.raises(
        CaseError, match=r"opacus needs [\d.]+ MB at least, in the smallest pieces, where 1 MB are allowed"
    ):
        suite.per_sample_gradients(model, batch, cross_entropy, memory=1_000_000)
    size = memory_plan.Workload(
        40, 40, sum(p.numel() * 8 for p in model.parameters() if p.requires_grad), 10_000
    )
    with pytest.raises(memory_plan.DoesNotFit) as told:
        memory_plan.plan_memory(engines["opacus"], model, batch, cross_entropy, size, 1_000_000)
    memory_plan.plan_memory(engines["opacus"], model, batch, cross_entropy, size, told.value.needed)


def test_what_is_said_to_be_needed_is_no_more_than_that() -> None:
    model, batch = wide()
    size = size_of(model, batch, cross_entropy)
    with pytest.raises(memory_plan.DoesNotFit) as told:
        memory_plan.plan_memory(engines["streaming"], model, batch, cross_entropy, size, 1000)
    needed = told.value.needed
    memory_plan.plan_memory(engines["streaming"], model, batch, cross_entropy, size, needed)
    with pytest.raises(memory_plan.DoesNotFit):
        memory_plan.plan_memory(engines["streaming"], model, batch, cross_entropy, size, needed * 98 // 100)


def test_losses_that_couple_samples_are_not_taken_in_chunks() -> None:
    model, batch = wide()

    def coupled(model, batch):
        out = model(batch[0])
        return F.cross_entropy(out - out.mean(0), batch[1], reduction="none")

    with pytest.raises(CaseError, match="cannot work in chunks of samples: their losses change when fewer"):
        suite.per_sample_gradients(model, batch, coupled, engine="loop", memory=4_000_000)


def test_losses_that_are_no_losses_of_two_samples_are_not_taken_in_pieces() -> None:
    model, batch = wide()

    def forty(model, batch):
        return cross_entropy(model, batch).view(40)

    with pytest.raises(CaseError, match=r"opacus cannot be given two samples of the batch: shape '\[40\]'"):
        suite.per_sample_gradients(model, batch, forty, memory=4_000_000)
    # What is refused for another reason than memory is not told as lack of it.
    require_memory(model, batch, forty, 4_000_000)


def test_losses_with_other_parts_for_fewer_samples_are_not_taken_in_chunks() -> None:
    model, batch = wide()

    def shrinking(model, batch):
        found = cross_entropy(model, batch)
        return torch.stack([found, found], 1) if len(found) == 40 else found

    with pytest.raises(CaseError, match=r"(\d) samples gave \1 units where each has 2"):
        Chunked(job(engines["loop"], model, batch, shrinking, [3])).gram()


def test_more_reduced_gradients_than_fit_are_refused_at_once() -> None:
    model, batch = wide()
    found = suite.per_sample_gradients(model, batch, cross_entropy, memory=4_000_000)
    assert found.chunks > 1
    with pytest.raises(CaseError, match=r"40 reduced gradients and .* more than the 4 MB that are allowed"):
        found.reduce(np.eye(40))
    assert found.reduce(np.eye(40)[:3]).shape == (3, found.shape[1])


def test_autograd_takes_few_samples_at_a_time_where_a_pass_of_all_does_not_fit() -> None:
    seen: list[int] = []
    size = 2000

    def waves(model, batch):
        seen.append(len(batch))
        x = model(batch) * torch.linspace(0, 1, size, dtype=batch.dtype)
        return x.sin().exp().sin().sum(1)

    model, batch = nn.Linear(4, 1).double(), torch.randn(200, 4, dtype=torch.float64)
    whole = suite.per_sample_gradients(model, batch, waves)
    saving = whole.size.saved
    seen.clear()
    found = suite.per_sample_gradients(model, batch, waves, memory=saving)
    assert distance(found.gram(), whole.gram()) < 1e-12
    assert found.chunks > 1
    assert 8 < sorted(seen)[len(seen) // 2] < 200


def test_all_gradients_are_formed_where_they_fit_and_else_it_is_said() -> None:
    model, batch = wide()
    whole = suite.per_sample_gradients(model, batch, cross_entropy)
    assert whole.chunks == 1
    found = suite.per_sample_gradients(model, batch, cross_entropy, memory=9_000_000)
    with pytest.raises(CaseError, match="all gradients together take"):
        suite.per_sample_gradients(model, batch, cross_entropy, memory=4_500_000).blocks  # noqa: B018  it raises
    torch.testing.assert_close(found.matrix, whole.matrix, rtol=1e-12, atol=1e-14)
    vector = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    pieces = found.gradients
    assert isinstance(pieces, Chunked)
    flat = torch.cat([part.flatten() for part in vector.values()])
    np.testing.assert_allclose(pieces.project(vector), whole.matrix @ flat, rtol=1e-12)
    more = pieces.append(vector)
    assert more.gram() is more.gram()  # nothing is computed twice
    last = torch.cat([block[-1].flatten() for block in more.blocks.values()])
    assert torch.equal(last, flat)


def test_what_is_held_is_counted_once_while_it_lives() -> None:
    x = torch.zeros(1000)

    def action() -> torch.Tensor:
        y = x + 1
        y = y.view(10, 100) + 1  # two of them
        return y.sum()

    most, left = peak_tensor_bytes(action, [x])
    assert (most, left) == (8000, 4)


def test_what_a_backward_pass_needs_is_counted_without_being_kept() -> None:
    layer, x = nn.Linear(5, 3), torch.randn(7, 5)
    found, size = saved_for_backward_bytes(lambda: layer(x).exp(), [x, *layer.parameters()])
    assert (found.shape, size) == ((7, 3), 7 * 3 * 4)


def test_tensors_without_memory_of_their_own_are_not_counted() -> None:
    values = torch.ones(1000)

    def action() -> torch.Tensor:
        # Said to all of torch: torch 2.11 warns of tensors that it makes itself while this one is made.
        with torch.sparse.check_sparse_tensor_invariants(enable=False):
            return torch.sparse_coo_tensor(torch.arange(1000)[None], values)

    assert peak_tensor_bytes(action, [values])[0] == 8000 + 24  # the indices, and their least and largest
