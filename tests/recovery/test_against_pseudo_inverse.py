"""Recovery against a dense pseudo-inverse of gradients that autograd took one by one, refusals included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from suite.recovery import recover, without_matrix
from tests.recovery import nets

EXAMPLES = max(settings.default.max_examples // 4, 5)


def of_samples(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1], reduction="none")


def samples(seed: int, twins: bool) -> nets.Made:
    """A small network; the last sample may be the first once more."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 3))
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    if twins:
        x[7], y[7] = x[0], y[0]
    return nets.Made(model, (x, y), of_samples, frozenset())


def sentences(seed: int, twins: bool) -> nets.Made:
    """Three sequences with padding; the last may be the first once more."""
    made = nets.masked()
    torch.manual_seed(seed)
    for parameter in made.model.parameters():
        nn.init.normal_(parameter, std=0.3)
    ids, targets = (part.clone() for part in made.batch)
    if twins:
        ids[2], targets[2] = ids[0], targets[0]
    return nets.Made(made.model, (ids, targets), made.losses, frozenset())


def one_by_one(made: nets.Made) -> np.ndarray:
    """`[units, params]` in float64."""
    exact = made.cast(torch.float64)
    parameters = list(exact.model.parameters())
    rows = []
    for unit in range(exact.count):
        exact.model.zero_grad()
        exact.losses(exact.model, exact.batch).flatten()[unit].backward()
        rows.append(torch.cat([p.grad.flatten() for p in parameters]).clone())
    return torch.stack(rows).numpy()


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    make=st.sampled_from([samples, sentences]),
    twins=st.booleans(),
    spoilt=st.booleans(),
    single=st.booleans(),
    few=st.booleans(),
)
def test_weights_residual_and_refusals_are_those_of_a_pseudo_inverse(
    seed: int, make, twins: bool, spoilt: bool, single: bool, few: bool
) -> None:
    made = make(seed, twins)
    g = one_by_one(made)
    dtype = torch.float32 if single else torch.float64
    made = made.cast(dtype)
    made.model.zero_grad()
    rng = np.random.default_rng(seed)
    column = rng.uniform(0.5, 2, len(g)) * rng.choice([0.0, 1.0, 1.0], len(g))
    apart = rng.normal(size=g.shape[1]) * spoilt * np.linalg.norm(g) / 30

    def step(model, batch) -> torch.Tensor:
        entries = made.losses(model, batch).flatten()
        (torch.as_tensor(column).to(entries) * entries).sum().backward()
        found = torch.cat([p.grad.flatten() for p in model.parameters()])
        model.zero_grad()
        return found + torch.as_tensor(apart).to(found)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(without_matrix, "FORMED", 0 if few else 1 << 60)
        found = recover(step, made.model, made.batch, made.losses)

    side = column @ g + apart
    lengths = np.linalg.norm(g, axis=1)
    silent = lengths <= 1e-12 * lengths.max()
    scaled = g / np.where(silent, 1.0, lengths)[:, None]
    inverse = np.linalg.pinv(scaled.T, rcond=1e-9)
    told = ~silent & (np.abs(inverse @ scaled.T - np.eye(len(g))).max(axis=1) < 1e-6)
    weights = inverse @ side / np.where(silent, 1.0, lengths)
    residual = np.linalg.norm(side - weights @ g) / max(np.linalg.norm(side), 1e-300)

    np.testing.assert_array_equal(np.isin(np.arange(len(g)), found.silent), silent)
    np.testing.assert_array_equal(found.identifiable, told)
    assert np.isnan(found.weights[~told & ~silent]).all()
    assert (np.abs(found.weights - weights)[told] <= found.error[told]).all()
    if not spoilt:
        assert found.linear
        np.testing.assert_allclose(found.weights[told], weights[told], atol=1e-3 if single else 1e-9)
    elif np.linalg.norm(side) > 0:
        assert not found.linear
        assert found.residual == pytest.approx(residual, rel=1e-3)
