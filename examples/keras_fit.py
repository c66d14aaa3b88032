"""Keras on its torch backend: what `sample_weight` is divided by, and what accumulation does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
from recipe import Pair, Row, digits, losses, show

import gradsuite

if TYPE_CHECKING:
    from torch import Tensor

SIZE, K = 2, 4
WEIGHT = np.array([1.0, 5.0, 0.0, 0.5, 2.0, 1.0, 3.0])
REDUCES = "reduce_values (keras/src/losses/loss.py)"
ACCUMULATES = "Optimizer._backend_apply_gradients (keras/src/optimizers/base_optimizer.py)"


def network() -> keras.Model:
    """The small classifier of digits, in Keras and in float32, whatever its settings are."""
    keras.utils.set_random_seed(0)
    images = keras.Input((64,), dtype="float32")
    hidden = keras.layers.Dense(16, activation="tanh", dtype="float32")(images)
    return keras.Model(images, keras.layers.Dense(10, dtype="float32")(hidden))


def weighted(model: keras.Model, batch: Pair, reduction: str = "sum_over_batch_size") -> None:
    """`train_on_batch` with weights of samples; its gradient stays in `.grad`."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction)
    model.compile(optimizer="sgd", loss=loss)
    model.train_on_batch(*batch, sample_weight=WEIGHT)


def accumulated(model: keras.Model, batch: Pair) -> dict[str, Tensor]:
    """`fit` for an epoch of one window, full or not: at learning rate 1 the weights move by the gradient."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = keras.optimizers.SGD(1.0, gradient_accumulation_steps=K)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=loss)
    model.fit(*batch, batch_size=SIZE, shuffle=False, verbose=0)
    return {name: before[name] - p.detach() for name, p in model.named_parameters()}


def recipe() -> list[Row]:
    """Two reductions of weighted samples; a full window of micro-batches, and one that is not full."""
    n = len(WEIGHT)

    def weighting(reduction: str, says: str, weights: np.ndarray, convention: str) -> Row:
        found = gradsuite.recover(
            lambda model, batch: weighted(model, batch, reduction), network(), digits(n), losses,
            units=gradsuite.Units.of(n, {"weight": WEIGHT}),
        )  # fmt: skip
        return Row("keras", f"`sample_weight`, {reduction}", f"{REDUCES}: {says}", weights, convention, found)

    def accumulation(samples: int, done: str, weights: Any, convention: str | None) -> Row:
        units = gradsuite.Units.of(samples, {"microbatch": np.arange(samples) // SIZE}, window=K)
        found = gradsuite.recover(accumulated, network(), digits(samples), losses, units=units)
        return Row("keras", done, ACCUMULATES, np.broadcast_to(weights, samples), convention, found)

    means = np.array([1, 1, 1, 1, 1, 1, 2]) / SIZE / K
    return [
        weighting("sum_over_batch_size", "by the count", WEIGHT / n, "sum-over-batch-size"),
        weighting("mean_with_sample_weight", "by the weights", WEIGHT / WEIGHT.sum(), "weighted-mean"),
        accumulation(7, "`gradient_accumulation_steps=4`: 2+2+2+1", means, "mean-of-microbatch-means"),
        accumulation(6, "the last window of an epoch, 2+2+2: no update", 0, None),
    ]


if __name__ == "__main__":
    show(recipe())
