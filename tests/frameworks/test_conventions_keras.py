"""Keras's reductions, clipping and accumulation, run on its torch backend, against the conventions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.conventions.agreement import by_backward, by_convention, distance, network, randn

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", reason="Keras is not installed: the tox environment `frameworks` has it")
if keras.backend.backend() != "torch":
    pytest.skip("these tests run Keras on torch: KERAS_BACKEND=torch", allow_module_level=True)

# Keras asks torch for numpy arrays in a way that numpy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

# On every backend but TensorFlow, Keras divides in float32 even where all its numbers are float64
# (`BIT64_TO_BIT32_DTYPE` in its backend/common/dtypes.py).
ROUNDING = torch.finfo(torch.float32).eps
SAMPLES, OUTPUTS = 6, 3
LABELS = torch.tensor([0, 2, 1, 0, 2, 2])
CLASS_WEIGHT = {0: 1.0, 1: 5.0, 2: 0.0}
WEIGHT = torch.tensor([CLASS_WEIGHT[label] for label in LABELS.tolist()], dtype=torch.float64)
BATCH = (randn(SAMPLES, 4), LABELS)


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")  # Keras keeps the first that it made
    yield
    keras.config.set_floatx(before)
    keras.config.set_dtype_policy(before)


def cross_entropies(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return functional.cross_entropy(model(batch[0]), batch[1], reduction="none")


def fitted(optimizer: Any, train: Callable[[Any], object], penalty: Any = None) -> Tensor:
    """`[params]` what SGD at learning rate 1 subtracts from the weights of a Keras network in `train`."""
    twin = network()
    model = keras.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(5, "tanh", kernel_regularizer=penalty),
        keras.layers.Dense(OUTPUTS, kernel_regularizer=penalty),
    ])  # fmt: skip
    before = [p.detach().numpy() for p in twin.parameters()]
    model.set_weights([weight.T for weight in before])
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    train(model)
    moves = [old - new.T for old, new in zip(before, model.get_weights(), strict=True)]
    return torch.cat([torch.tensor(move).flatten() for move in moves])


def sgd(**settings: Any) -> Any:
    return keras.optimizers.SGD(learning_rate=1.0, **settings)


def step(model: Any) -> object:
    return model.train_on_batch(BATCH[0], LABELS)


@pytest.mark.parametrize("loss", ["MeanSquaredError", "MeanAbsoluteError", "BinaryCrossentropy"])
def test_the_default_reduction_divides_by_all_elements(loss):
    model, batch = network(), (randn(SAMPLES, 4), randn(SAMPLES, OUTPUTS, seed=2).sigmoid())
    framework = by_backward(model, getattr(keras.losses, loss)()(batch[1], model(batch[0]).sigmoid()))
    elements = {
        "MeanSquaredError": functional.mse_loss,
        "MeanAbsoluteError": functional.l1_loss,
        "BinaryCrossentropy": functional.binary_cross_entropy,
    }[loss]

    def losses(model, batch):
        return elements(model(batch[0]).sigmoid(), batch[1], reduction="none").sum(1)

    expected = by_convention("element-mean", model, batch, losses, {"elements": OUTPUTS})
    assert distance(framework, expected) < ROUNDING


@pytest.mark.parametrize(
    ("reduction", "convention"),
    [
        ("sum_over_batch_size", "sum-over-batch-size"),
        ("mean", "sum-over-batch-size"),
        ("mean_with_sample_weight", "weighted-mean"),
    ],
)
@pytest.mark.parametrize("outputs", [1, 3])
def test_sample_weights_are_in_the_divisor_of_one_reduction_only(reduction, convention, outputs):
    model, batch = network(4, outputs), (randn(SAMPLES, 4), randn(SAMPLES, outputs, seed=2))
    loss = keras.losses.MeanSquaredError(reduction=reduction)
    framework = by_backward(model, loss(batch[1], model(batch[0]), sample_weight=WEIGHT))
    losses = lambda m, b: (m(b[0]) - b[1]).square().sum(1)  # noqa: E731  a def says no more
    columns = {"elements": outputs, "weight": WEIGHT}
    assert distance(framework, by_convention(convention, model, batch, losses, columns)) < ROUNDING


def test_sum_with_sample_weights_is_the_weighted_sum():
    model = network()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
    framework = by_backward(model, loss(LABELS, model(BATCH[0]), sample_weight=WEIGHT))
    expected = by_convention("weighted-sum", model, BATCH, cross_entropies, {"weight": WEIGHT})
    assert distance(framework, expected) < ROUNDING


def test_class_weights_of_fit_divide_by_the_batch_size():
    def fit(model):
        arrays = BATCH[0].numpy(), LABELS.numpy()
        model.fit(*arrays, batch_size=SAMPLES, class_weight=CLASS_WEIGHT, shuffle=False, verbose=0)

    framework = fitted(sgd(), fit)
    expected = by_convention("sum-over-batch-size", network(), BATCH, cross_entropies, {"weight": WEIGHT})
    assert distance(framework, expected) < ROUNDING


def test_an_ignored_class_is_not_counted():
    present = torch.arange(5) < torch.tensor([5, 1, 3, 2])[:, None]
    targets = torch.randint(0, OUTPUTS, present.shape, generator=torch.Generator().manual_seed(0))
    model, batch = network(), (randn(*present.shape, 4), targets.where(present, -1))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    framework = by_backward(model, loss(batch[1], model(batch[0])))

    def losses(model, batch):
        scores = model(batch[0]).transpose(1, 2)
        return functional.cross_entropy(scores, batch[1], ignore_index=-1, reduction="none").sum(1)

    counts = {"elements": present.sum(1), "positions": present.shape[1]}
    assert distance(framework, by_convention("token-mean", model, batch, losses, counts)) < ROUNDING


@pytest.mark.parametrize("max_norm", [1e-3, 0.1, 1e3])
def test_global_clipnorm_clips_the_mean(max_norm):
    expected = by_convention("clip-mean", network(), BATCH, cross_entropies, max_norm=max_norm)
    assert distance(fitted(sgd(global_clipnorm=max_norm), step), expected) < ROUNDING


def test_clipnorm_clips_each_variable_and_so_is_no_clipped_mean():
    expected = by_convention("clip-mean", network(), BATCH, cross_entropies, max_norm=0.1)
    assert distance(fitted(sgd(clipnorm=0.1), step), expected) > 0.1


def test_accumulated_steps_average_the_means_of_uneven_microbatches():
    microbatch = np.array([0, 0, 1, 1, 1, 1])

    def train(model):
        for rows in (microbatch == 0, microbatch == 1):
            model.train_on_batch(BATCH[0][rows], LABELS[rows])

    framework = fitted(sgd(gradient_accumulation_steps=2), train)
    columns = {"microbatch": microbatch}
    for name in ("mean-of-microbatch-means", "keras:gradient_accumulation_steps"):
        expected = by_convention(name, network(), BATCH, cross_entropies, columns, window=2)
        assert distance(framework, expected) < ROUNDING


def test_a_kernel_regulariser_is_left_alone_and_has_no_factor_one_half():
    def penalty(model):
        return 0.3 * sum(p.square().sum() for p in model.parameters() if p.ndim == 2)

    framework = fitted(sgd(), step, keras.regularizers.L2(0.3))
    expected = by_convention("regulariser-alone", network(), BATCH, cross_entropies, regulariser=penalty)
    assert distance(framework, expected) < ROUNDING
