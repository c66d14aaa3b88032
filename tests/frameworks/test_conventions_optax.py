"""Optax's losses, accumulation and clipping, run, against the conventions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.conventions.agreement import ROUNDING, by_convention, distance, network, randn

jax = pytest.importorskip("jax", reason="JAX is not installed: the tox environment `frameworks` has it")
optax = pytest.importorskip("optax", reason="Optax is not installed: the tox environment `frameworks` has it")

SAMPLES, OUTPUTS = 6, 3
INPUTS, TARGETS = randn(SAMPLES, 4), randn(SAMPLES, OUTPUTS, seed=2)
LABELS = torch.tensor([0, 2, 1, 0, 2, 2])
MICROBATCH = np.array([0, 0, 1, 1, 1, 1])
Params = list[Any]


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def weights() -> Params:
    """The weights of `network()`, layer by layer."""
    return [jax.numpy.asarray(p.detach().numpy()) for p in network().parameters()]


def forward(params: Params, inputs: Any) -> Any:
    """`network()` once more, in JAX."""
    weight, bias, last_weight, last_bias = params
    return jax.numpy.tanh(inputs @ weight.T + bias) @ last_weight.T + last_bias


def gradient(loss: Callable[[Any, Any], Any], inputs: Tensor = INPUTS, targets: Tensor = TARGETS) -> Params:
    """The gradient of the scalar `loss(outputs, targets)`."""
    arrays = inputs.numpy(), targets.numpy()
    return list(jax.grad(lambda params: loss(forward(params, arrays[0]), arrays[1]))(weights()))


def flat(tree: Params) -> Tensor:
    """`[params]`."""
    return torch.cat([torch.tensor(np.asarray(leaf)).flatten() for leaf in tree])


def squared_errors(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (model(batch[0]) - batch[1]).square().sum(1)


def mean_of_squares(outputs: Any, targets: Any) -> Any:
    return optax.squared_error(outputs, targets).sum(1).mean()


@pytest.mark.parametrize(
    ("loss", "convention"),
    [
        (lambda outputs, targets: optax.l2_loss(outputs, targets).sum(), "half-sum"),
        (lambda outputs, targets: optax.l2_loss(outputs, targets).sum(1).mean(), "half-mean"),
        (lambda outputs, targets: optax.squared_error(outputs, targets).sum(), "sum"),
        (lambda outputs, targets: optax.squared_error(outputs, targets).mean(), "element-mean"),
    ],
)
def test_l2_loss_has_a_half_and_squared_error_has_none(loss, convention):
    columns = {"elements": OUTPUTS}
    expected = by_convention(convention, network(), (INPUTS, TARGETS), squared_errors, columns)
    assert distance(flat(gradient(loss)), expected) < ROUNDING


def test_the_mean_of_the_unreduced_cross_entropy_is_the_mean_over_samples():
    def loss(outputs, labels):
        return optax.softmax_cross_entropy_with_integer_labels(outputs, labels).mean()

    losses = lambda m, b: functional.cross_entropy(m(b[0]), b[1], reduction="none")  # noqa: E731  a def says no more
    expected = by_convention("mean", network(), (INPUTS, LABELS), losses)
    assert distance(flat(gradient(loss, targets=LABELS)), expected) < ROUNDING


@pytest.mark.parametrize(
    ("use_grad_mean", "convention"),
    [
        (True, "mean-of-microbatch-means"),
        (True, "optax:MultiSteps"),
        (False, "sum-of-microbatch-means"),
        (False, "optax:MultiSteps-sum"),
    ],
)
def test_multi_steps_weighs_uneven_microbatches_alike(use_grad_mean, convention):
    optimizer = optax.MultiSteps(
        optax.sgd(1.0), 2, use_grad_mean=use_grad_mean, accumulator_dtype=jax.numpy.float64
    )
    params = weights()
    state = optimizer.init(params)
    for rows in (MICROBATCH == 0, MICROBATCH == 1):
        means = gradient(mean_of_squares, INPUTS[rows], TARGETS[rows])
        updates, state = optimizer.update(means, state, params)
    columns = {"microbatch": MICROBATCH}
    batch = (INPUTS, TARGETS)
    expected = by_convention(convention, network(), batch, squared_errors, columns, window=2)
    assert distance(-flat(updates), expected) < ROUNDING


@pytest.mark.parametrize("max_norm", [1e-3, 5.0, 1e3])
def test_differentially_private_aggregate_clips_each_unit_and_divides_by_the_samples(max_norm):
    by_sample = jax.vmap(
        jax.grad(lambda params, x, y: optax.squared_error(forward(params, x), y).sum()), (None, 0, 0)
    )(weights(), INPUTS.numpy(), TARGETS.numpy())
    private = optax.contrib.differentially_private_aggregate(max_norm, 0.0, key=jax.random.key(0))
    clipped, _ = private.update(by_sample, private.init(weights()))
    batch = (INPUTS, TARGETS)
    expected = by_convention("clip-each-unit", network(), batch, squared_errors, max_norm=max_norm)
    assert distance(flat(clipped), expected) < ROUNDING


@pytest.mark.parametrize("max_norm", [1e-3, 0.5, 1e3])
def test_clip_by_global_norm_clips_the_mean(max_norm):
    clip = optax.clip_by_global_norm(max_norm)
    clipped, _ = clip.update(gradient(mean_of_squares), clip.init(weights()))
    batch = (INPUTS, TARGETS)
    expected = by_convention("clip-mean", network(), batch, squared_errors, max_norm=max_norm)
    assert distance(flat(clipped), expected) < ROUNDING
