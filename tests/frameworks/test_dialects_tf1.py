"""TensorFlow 1's optimizers, run eagerly from tf.compat.v1, beside PyTorch prepared by the translation."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from suite.equivalence.dialects import dialects, translate
from suite.equivalence.dialects.dialect import REQUIRED
from tests.equivalence.following import START, deviation, follow, gradient

tf = pytest.importorskip(
    "tensorflow", reason="TensorFlow is not installed; it is in no tox environment for its size"
)
train = tf.compat.v1.train

STEPS = 30
ROUNDING = 1e-7  # its powers of β, and the decay of RMSProp, are float32 numbers

CHOICES = [
    ("GradientDescentOptimizer", {"learning_rate": 0.05}),
    ("MomentumOptimizer", {"learning_rate": 0.05, "momentum": 0.9}),
    ("MomentumOptimizer", {"learning_rate": 0.05, "momentum": 0.9, "use_nesterov": True}),
    ("AdamOptimizer", {"learning_rate": 0.05}),
    ("AdamOptimizer", {"learning_rate": 0.05, "epsilon": 0.1, "beta2": 0.95}),
    ("RMSPropOptimizer", {"learning_rate": 0.05, "epsilon": 0.0}),
    ("RMSPropOptimizer", {"learning_rate": 0.05, "epsilon": 0.0, "momentum": 0.9}),
    ("RMSPropOptimizer", {"learning_rate": 0.05, "epsilon": 0.0, "centered": True}),
    ("AdagradOptimizer", {"learning_rate": 0.05}),
    ("AdadeltaOptimizer", {"learning_rate": 0.5, "epsilon": 1e-3}),
]


def run(optimizer, chosen):
    """`[steps, params]` the weights after each step of TensorFlow."""
    made, weights, path = getattr(train, optimizer)(**chosen), tf.Variable(START), []
    for step in range(1, STEPS + 1):
        made.apply_gradients([(tf.constant(gradient(weights.numpy(), step)), weights)])
        path.append(weights.numpy())
    return np.array(path)


@pytest.mark.parametrize(("optimizer", "chosen"), CHOICES)
def test_pytorch_takes_the_steps_that_tensorflow_takes(optimizer, chosen):
    translation = translate("tf1", optimizer, chosen)
    assert translation.exact, translation.reason
    assert deviation(follow(translation, STEPS), run(optimizer, chosen)) < ROUNDING


@pytest.mark.parametrize("centered", [False, True])
def test_eps_inside_the_root_does_go_another_way(centered):
    chosen = {"learning_rate": 0.05, "epsilon": 0.1, "centered": centered}
    translation = translate("tf1", "RMSPropOptimizer", chosen)
    assert not translation.exact
    assert deviation(follow(translation, STEPS), run("RMSPropOptimizer", chosen)) > 1e-3


@pytest.mark.parametrize(
    "written", [w for w in dialects["tf1"].optimizers if w.translate], ids=lambda w: w.name
)
def test_the_defaults_are_those_of_tensorflow(written):
    signature = inspect.signature(getattr(train, written.name)).parameters
    ours = {p.name: p.default for p in written.parameters if p.default is not REQUIRED and p.name != "l2"}
    assert ours == {name: signature[name].default for name in ours}
