"""The streaming engine against one backward pass a unit, over random architectures."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

import suite
from suite.engines.engine import Refused, engines
from tests.engines.streaming.architectures import Architecture, architectures, one_term, two_terms

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")

STREAMING = engines["streaming"]


def distances(found, expected: torch.Tensor, seed: int) -> tuple[float, float]:
    """Of the Gram matrix and of random reductions, each relative to the largest of its kind."""
    expected = expected.double().numpy()
    gram = expected @ expected.T
    coefficients = np.random.default_rng(seed).normal(size=(3, len(expected)))
    coefficients[2] = 2 * coefficients[0]
    reduced, ours = coefficients @ expected, found.reduce(coefficients).double().numpy()
    size = max(np.abs(coefficients).sum(1).max() * np.sqrt(np.diagonal(gram).max()), 1e-30)
    return (
        float(np.abs(found.gram() - gram).max() / max(gram.max(), 1e-30)),
        float(np.linalg.norm(reduced - ours, axis=1).max() / size),
    )


def autograd_is_right(found: Architecture, expected: torch.Tensor) -> bool:
    """Whether autograd itself keeps its digits: a norm of one or two numbers can lose most of them."""
    single = found.cast(torch.float32).unit_gradients().double()
    return bool((single - expected).norm() < 1e-6 * expected.norm())


@given(architectures(), st.integers(0, 100))
def test_float64_agrees_with_one_by_one_to_twelve_digits(found: Architecture, seed: int) -> None:
    expected = found.unit_gradients()
    assume(autograd_is_right(found, expected))
    got = STREAMING.compute(found.model, found.batch, found.losses)
    assert got.shape == tuple(expected.shape)
    assert max(distances(got, expected, seed)) < 1e-12
    torch.testing.assert_close(
        torch.cat([b.flatten(1) for b in got.blocks.values()], 1), expected, rtol=1e-10, atol=1e-11
    )


@given(architectures(), st.integers(0, 100))
def test_float32_agrees_with_float64_to_five_digits(found: Architecture, seed: int) -> None:
    single = found.cast(torch.float32)
    expected = found.unit_gradients()
    assume(autograd_is_right(found, expected))
    got = STREAMING.compute(single.model, single.batch, single.losses)
    assert max(distances(got, expected, seed)) < 1e-5


def losses(model, batch):
    return model(batch[0]).flatten(1).square().sum(1)


@pytest.mark.parametrize("shape", [(300, 3), (300, 2, 3), (140, 40, 3)])
def test_blocks_of_a_large_gram_matrix_fit_together(shape) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 2)).double()
    found = Architecture(model, (torch.randn(*shape, dtype=torch.float64),), losses)
    got = STREAMING.compute(model, found.batch, losses)
    assert max(distances(got, found.unit_gradients(), 0)) < 1e-12


@pytest.mark.parametrize("name", ["BUFFER", "CACHED", "KEPT"])
@pytest.mark.parametrize("make", [
    lambda: (nn.Sequential(nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.Tanh(), nn.Flatten()), (4, 5, 5)),
    lambda: (nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)), (40, 5)),
    lambda: (nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)), (2, 5)),
])  # fmt: skip
def test_results_do_not_depend_on_how_much_is_formed_at_a_time(monkeypatch, make, name) -> None:
    from suite.engines.streaming import patches, streamed

    compute = sys.modules["suite.engines.streaming.compute"]
    model, shape = make()
    found = Architecture(model.double(), (torch.randn(7, *shape, dtype=torch.float64),), losses)
    module = {"BUFFER": compute, "CACHED": patches, "KEPT": streamed}[name]
    monkeypatch.setattr(module, name, 1)
    got = STREAMING.compute(found.model, found.batch, losses)
    assert max(distances(got, found.unit_gradients(), 0)) < 1e-12


def test_layers_that_are_known_do_without_torch_func(monkeypatch) -> None:
    def fail(*_, **__):
        raise AssertionError("torch.func was asked")

    monkeypatch.setattr("suite.engines.functional.compute", fail)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding="same", padding_mode="circular"), nn.GroupNorm(2, 4),
        nn.ReLU(inplace=True), nn.Flatten(2), nn.Linear(16, 8), nn.LayerNorm(8), nn.Flatten(),
        nn.Linear(32, 3),
    ).double()  # fmt: skip
    found = Architecture(model, (torch.randn(3, 1, 4, 4, dtype=torch.float64),), losses)
    got = STREAMING.compute(model, found.batch, losses)
    assert max(distances(got, found.unit_gradients(), 0)) < 1e-12


def test_no_weight_gradient_is_computed_and_nothing_is_left_in_the_model() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    STREAMING.compute(model, (torch.randn(5, 3),), losses)
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())


def test_the_regulariser_joins_as_the_last_unit() -> None:
    model = nn.Sequential(nn.Conv1d(2, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(9, 2)).double()
    batch = (torch.randn(5, 2, 4, dtype=torch.float64),)
    rows = Architecture(model, batch, losses).unit_gradients()
    theta = {name: p.detach() for name, p in model.named_parameters()}
    expected = torch.cat([rows, torch.cat([t.flatten() for t in theta.values()])[None]])
    got = STREAMING.compute(model, batch, losses).append(theta)
    assert max(distances(got, expected, 0)) < 1e-12


def test_samples_that_a_layer_normalises_together_are_refused() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    with pytest.raises(Refused, match="cannot separate the samples that BatchNorm1d"):
        STREAMING.compute(model, (torch.randn(5, 3),), losses)


def test_an_input_that_is_overwritten_is_refused() -> None:
    class Overwriting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x):
            x = x * 2
            y = self.layer(x)
            x += 1
            return y

    with pytest.raises(Refused, match="it was overwritten"):
        STREAMING.compute(Overwriting(), (torch.randn(5, 3),), losses)


@pytest.mark.parametrize("terms", [one_term, two_terms])
def test_models_that_opacus_gets_wrong_come_out_right(terms) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(7, 4, padding_idx=0)

        def forward(self, tokens):
            return F.linear(self.embedding(tokens).mean(1), self.embedding.weight)

    found = suite.gradients(Tied().double(), (torch.randint(1, 7, (5, 3)),), terms, engine="streaming")
    assert found.engine == "streaming"
