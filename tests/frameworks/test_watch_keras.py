"""Keras on torch, unmodified, under its callback: each update is what Keras' source says."""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import suite

os.environ.setdefault("KERAS_BACKEND", "torch")
pytestmark = [
    # Keras asks torch for numpy arrays in a way that numpy 2.4 deprecates.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]
N = 7


def keras() -> Any:
    package = pytest.importorskip("keras")
    if package.backend.backend() != "torch":
        pytest.skip("Keras is audited on torch: KERAS_BACKEND=torch")
    return package


def losses(model: Any, batch: Any) -> torch.Tensor:
    return F.cross_entropy(model(batch[0]), batch[1].long(), reduction="none")


def trained(optimizer: Any, callbacks: list[Any], *, divisor: float = 1.0) -> Any:
    """Two epochs of 2 + 2 + 2 + 1 samples, or one of as many as there are."""
    package = keras()
    package.utils.set_random_seed(0)
    inputs = package.Input((6,))
    hidden = package.layers.Dense(8, activation="tanh")(inputs)
    model = package.Model(inputs, package.layers.Dense(3)(hidden))
    entropy = package.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=lambda y, scores: entropy(y, scores) / divisor)
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(N, 6)).astype("float32"), draw.integers(0, 3, N)
    model.fit(x, y, batch_size=2, epochs=2, shuffle=False, verbose=0, callbacks=callbacks)
    return model


def test_accumulated_clipped_and_decayed_updates_are_seen_before_weights_move() -> None:
    package = keras()
    callback = suite.watch.keras.Audit(losses)
    model = trained(
        package.optimizers.AdamW(0.01, weight_decay=0.5, gradient_accumulation_steps=4, global_clipnorm=0.1),
        [callback],
    )
    audit = callback.audit
    assert not audit.failures
    assert [(update.microbatches, update.last) for update in audit.updates] == [(4, True), (4, True)]
    for update in audit.updates:
        assert update.norm == pytest.approx(0.1, rel=1e-5)
        np.testing.assert_allclose(update.beneath.weights, np.array([1, 1, 1, 1, 1, 1, 2]) / 8, rtol=1e-4)
        assert update.computes("mean-of-microbatch-means")
    assert "train_step" not in vars(model)
    assert "apply" not in vars(model.optimizer)


def test_a_loss_that_the_script_divides_too_is_named() -> None:
    package = keras()
    callback = suite.watch.keras.Audit(losses)
    trained(package.optimizers.SGD(0.1, gradient_accumulation_steps=4), [callback], divisor=4)
    assert callback.audit.updates[0].fault.name == "fault:divided-twice"


def test_what_a_loss_scale_drops_is_no_update() -> None:
    package = keras()
    scaled = package.optimizers.LossScaleOptimizer(package.optimizers.SGD(0.1), initial_scale=2.0**127)
    callback = suite.watch.keras.Audit(losses)
    trained(scaled, [callback], divisor=1 / 16)  # 16 times the loss overflows, until the scale is halved
    audit = callback.audit
    assert 0 < len(audit.updates) < 8
    assert all(update.microbatches == 1 for update in audit.updates)
    assert not audit.failures


class Subclassed:
    """A model whose class Keras does not know, made where Keras is there."""

    def __new__(cls) -> Any:
        package = keras()

        class Inside(package.Model):
            def __init__(self) -> None:
                super().__init__()
                self.scores = package.layers.Dense(3)

            def call(self, x: Any) -> Any:
                return self.scores(x)

        made = Inside()
        made(np.zeros((1, 6), "float32"))
        return made


@pytest.mark.parametrize("factory", [None, Subclassed])
def test_a_model_that_keras_cannot_clone_is_told_or_made_by_a_factory(factory) -> None:
    package = keras()
    model, callback = Subclassed(), suite.watch.keras.Audit(losses, factory=factory)
    model.compile(optimizer="sgd", loss=package.losses.SparseCategoricalCrossentropy(from_logits=True))
    data = np.ones((4, 6), "float32"), np.array([0, 1, 2, 0])
    if factory is None:
        with pytest.warns(suite.watch.AuditWarning, match="factory="):
            model.fit(*data, verbose=0, callbacks=[callback])
        assert len(callback.audit.failures) == 1
    else:
        model.fit(*data, verbose=0, callbacks=[callback])
        callback.audit.assert_convention("mean")


def test_keras_ends_in_the_same_bits() -> None:
    package = keras()
    left = []
    for callbacks in ([], [suite.watch.keras.Audit(losses, every=2)]):
        model = trained(package.optimizers.Adam(0.1), callbacks)
        drawn = [torch.rand(2), torch.tensor([random.random(), np.random.rand()])]  # noqa: NPY002, S311
        left.append([*(p.detach().clone() for p in model.parameters()), *drawn])
    assert all(torch.equal(a, b) for a, b in zip(*left, strict=True))
