"""The streaming engine against one backward pass a unit, over random architectures."""

from __future__ import annotations

import sys
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

import suite
from suite.engines.engine import Refused, engines
from suite.engines.streaming import following, outer_product, streamed
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


@given(architectures(), st.integers(0, 100), st.booleans())
def test_clip_thresholds_are_reduced_as_one_by_one(found: Architecture, seed: int, with_mean: bool) -> None:
    expected = found.unit_gradients()
    assume(autograd_is_right(found, expected))
    norms = expected.norm(dim=1).clamp(min=1e-9).numpy()
    thresholds = np.quantile(norms, np.random.default_rng(seed).random(5))
    coefficients = np.minimum(1, thresholds[:, None] / norms) / len(norms)
    if with_mean:
        coefficients = np.concatenate([coefficients, coefficients * 3, np.full((1, len(norms)), 1.0)])
    size = float(np.abs(coefficients).sum(1).max() * norms.max())
    for followed, mixed, stacked in ((streamed.FOLLOWED, 2, 1 << 18), (streamed.FOLLOWED, 2, 0), (1, 0, 0)):
        with (
            mock.patch.object(streamed, "FOLLOWED", followed),
            mock.patch.object(outer_product, "MIXED", mixed),
            mock.patch.object(following, "STACKED", stacked),
            mock.patch.object(following, "IN_CACHE", 64),
        ):
            got = STREAMING.compute(found.model, found.batch, found.losses)
            ours = got.reduce(coefficients)
            weights, directions = got.directions(coefficients)
        for result in (ours, weights @ directions):
            assert float((result - torch.from_numpy(coefficients) @ expected).norm()) < 1e-12 * size


@given(architectures(), st.integers(0, 100))
def test_beside_autograd_only_what_is_wrong_is_apart(found: Architecture, seed: int) -> None:
    expected = found.unit_gradients()
    assume(autograd_is_right(found, expected))
    got = STREAMING.compute(found.model, found.batch, found.losses)
    column = np.random.default_rng(seed).normal(size=len(expected))
    shapes = {name: p.shape for name, p in found.model.named_parameters() if p.requires_grad}
    parts = (torch.from_numpy(column) @ expected).split([s.numel() for s in shapes.values()])
    right = {name: part.view(shapes[name]) for name, part in zip(shapes, parts, strict=True)}
    wrong = {name: 1.01 * part for name, part in right.items()}
    size = float(np.abs(column).sum() * expected.norm(dim=1).max())
    for other, least, most in ((right, 0.0, 1e-12 * size), (wrong, 0.002, 0.05)):
        pairs = list(got.beside(column, other))
        assert sorted(pair.name for pair in pairs) == sorted(shapes)
        for pair in pairs:
            distance = float((pair.ours - pair.theirs).norm())
            if other is wrong:  # the random columns, eight of them, lengthen both
                norm = float(right[pair.name].norm())
                distance = distance / norm if norm > 1e-9 * size else least
                distance /= 1 if pair.whole else 8**0.5
            assert least <= distance <= most


def losses(model, batch):
    return model(batch[0]).flatten(1).square().sum(1)


@pytest.mark.parametrize("shape", [(300, 3), (300, 2, 3), (140, 40, 3)])
def test_blocks_of_a_large_gram_matrix_fit_together(shape) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 2)).double()
    found = Architecture(model, (torch.randn(*shape, dtype=torch.float64),), losses)
    got = STREAMING.compute(model, found.batch, losses)
    assert max(distances(got, found.unit_gradients(), 0)) < 1e-12


@pytest.mark.parametrize(
    "name", ["FORMED_AT_A_TIME", "CACHED", "FORMED_NUMBERS", "REUSED_FROM", "SHARED_FROM"]
)
@pytest.mark.parametrize("make", [
    lambda: (nn.Sequential(nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.Tanh(), nn.Flatten()), (4, 5, 5)),
    lambda: (nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)), (40, 5)),
    lambda: (nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)), (2, 5)),
])  # fmt: skip
def test_results_do_not_depend_on_how_much_is_formed_at_a_time(monkeypatch, make, name) -> None:
    from suite.engines.streaming import patches, streamed, syrk
    from suite.machine import buffers

    compute = sys.modules["suite.engines.streaming.compute"]
    model, shape = make()
    found = Architecture(model.double(), (torch.randn(7, *shape, dtype=torch.float64),), losses)
    homes = {"FORMED_AT_A_TIME": compute, "CACHED": patches, "FORMED_NUMBERS": streamed}
    homes |= {"REUSED_FROM": buffers, "SHARED_FROM": syrk}
    monkeypatch.setattr(homes[name], name, 1)
    got = STREAMING.compute(found.model, found.batch, losses)
    assert max(distances(got, found.unit_gradients(), 0)) < 1e-12


@pytest.mark.parametrize("tokens", [
    torch.tensor([[0, 1, 5, 1], [2, 0, 0, 0], [1, 1, 1, 1]]),  # 0 is padding
    torch.zeros(3, 4, dtype=torch.int64),
    torch.arange(12).view(3, 4),
])  # fmt: skip
@pytest.mark.parametrize("formed", [1, 1 << 24])
def test_embeddings_are_reduced_alike_formed_or_not(monkeypatch, tokens, formed) -> None:
    monkeypatch.setattr(sys.modules["suite.engines.streaming.compute"], "FORMED_AT_A_TIME", formed)
    model = nn.Sequential(nn.Embedding(12, 3, padding_idx=0), nn.Flatten(), nn.Linear(12, 2)).double()
    found = Architecture(model, (tokens,), losses)
    got = STREAMING.compute(model, found.batch, losses)
    assert max(distances(got, found.unit_gradients(), 0)) < 1e-12


def test_layers_that_are_known_do_without_torch_func(monkeypatch) -> None:
    def fail(*_, **__):
        raise AssertionError("torch.func was asked")

    monkeypatch.setattr("suite.engines.torch_func.compute", fail)
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

    found = suite.per_sample_gradients(
        Tied().double(), (torch.randint(1, 7, (5, 3)),), terms, engine="streaming"
    )
    assert found.engine == "streaming"


class Frames(nn.Module):
    """A layer that sees the frames of all samples as so many rows."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x.flatten(0, 1)).unflatten(0, x.shape[:2])


FRAMES = {
    "convolution": (Frames(nn.Conv2d(2, 4, 2, groups=2), nn.Tanh(), nn.Conv2d(4, 3, 2)), (3, 2, 4, 4)),
    "norms": (
        Frames(nn.GroupNorm(2, 4), nn.Tanh(), nn.BatchNorm1d(4).eval(), nn.Flatten(), nn.LayerNorm(12)),
        (3, 4, 3),
    ),
    "linear": (Frames(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)), (3, 5)),
}


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("losses", [one_term, two_terms])
def test_rows_of_one_sample_are_added_up(kind, losses) -> None:
    model, shape = FRAMES[kind]
    found = Architecture(model.double(), (torch.randn(4, *shape, dtype=torch.float64),), losses)
    got = STREAMING.compute(found.model, found.batch, losses)
    assert max(distances(got, found.unit_gradients(), 0)) < 1e-12


WIDE = {
    "sequence": (nn.Linear(48, 40), (2, 48)),
    "image": (nn.Conv2d(24, 24, 3, groups=2), (24, 4, 3)),
}


@pytest.mark.parametrize("kind", WIDE)
@pytest.mark.parametrize("losses", [one_term, two_terms])
@pytest.mark.parametrize("buffer", [1, 100, 1 << 24])
def test_wide_layers_on_few_positions_take_inner_products_with_the_same_result(
    kind, losses, buffer, monkeypatch
) -> None:
    from suite.engines.streaming.positions import Positions

    monkeypatch.setattr(sys.modules["suite.engines.streaming.compute"], "FORMED_AT_A_TIME", buffer)
    layer, shape = WIDE[kind]
    found = Architecture(layer.double(), (torch.randn(5, *shape, dtype=torch.float64),), losses)
    got = STREAMING.compute(found.model, found.batch, losses)
    assert [p.inner for p in got._layers if isinstance(p, Positions)] == [True]
    assert max(distances(got, found.unit_gradients(), 0)) < 1e-12


class Kinds(nn.Module):
    """One layer of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(6, 4, padding_idx=0)
        self.sequence = nn.Linear(4, 4)
        self.kernel = nn.Conv1d(4, 3, 2)
        self.norm = nn.GroupNorm(3, 3)
        self.tracked = nn.BatchNorm1d(3).eval()
        self.last = nn.LayerNorm(6)
        self.head = nn.Linear(6, 2)

    def forward(self, tokens):
        x = self.kernel(torch.tanh(self.sequence(self.table(tokens))).mT)
        return self.head(self.last(self.tracked(self.norm(x)).flatten(1)))


TOKENS = (torch.tensor([[0, 1, 2], [3, 3, 5], [4, 0, 1], [2, 2, 2]]),)
KINDS = [name for name, _ in Kinds().named_parameters()]


@pytest.mark.parametrize("trained", [*KINDS, None])
@pytest.mark.parametrize("kept", [0, 1 << 26])
def test_each_parameter_alone_and_all_together_meet_the_regulariser(trained, kept, monkeypatch) -> None:
    monkeypatch.setattr("suite.engines.streaming.streamed.FORMED_NUMBERS", kept)
    model = Kinds().double()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trained in (None, name))
    rows = Architecture(model, TOKENS, two_terms).unit_gradients()
    theta = {name: torch.randn_like(p) for name, p in model.named_parameters() if p.requires_grad}
    expected = torch.cat([rows, torch.cat([t.flatten() for t in theta.values()])[None]])
    got = STREAMING.compute(model, TOKENS, two_terms).append(theta)
    assert max(distances(got, expected, 0)) < 1e-12


def test_a_layer_that_is_called_without_rows_is_left_to_torch_func() -> None:
    class OneByOne(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv1d(2, 3, 2)

        def forward(self, x):
            return torch.stack([self.layer(sample) for sample in x])

    model = OneByOne().double()
    found = Architecture(model, (torch.randn(4, 2, 5, dtype=torch.float64),), losses)
    got = STREAMING.compute(model, found.batch, losses)
    assert max(distances(got, found.unit_gradients(), 0)) < 1e-12


def test_a_call_without_gradients_leaves_nothing() -> None:
    class Target(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x):
            with torch.no_grad():
                target = self.layer(x + 1)
            return self.layer(x) - target

    model = Target().double()
    found = Architecture(model, (torch.randn(4, 3, dtype=torch.float64),), losses)
    got = STREAMING.compute(model, found.batch, losses)
    assert max(distances(got, found.unit_gradients(), 0)) < 1e-12


def test_the_gram_matrix_is_added_up_once() -> None:
    got = STREAMING.compute(nn.Linear(3, 2), (torch.randn(4, 3),), losses)
    assert got.gram() is got.gram()
