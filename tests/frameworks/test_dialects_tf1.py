"""TensorFlow 1's optimizers, run eagerly from tf.compat.v1, beside PyTorch prepared by the translation."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from suite.equivalence.dialects import dialects, translate
from suite.equivalence.dialects.dialect import REQUIRED
from tests.equivalence.following import START, deviation, follow, gradient

tf = pytest.importorskip(
    "tensorflow", reason="TensorFlow is not installed: the tox environment `tensorflow` has it"
)
train = tf.compat.v1.train

STEPS = 30
ROUNDING = 1e-10
# TensorFlow keeps settings in float32: numbers that float32 holds leave float64's rounding alone.
RATE = 2**-4
BETAS = {"beta1": 0.5, "beta2": 0.5}  # their powers too, which it multiplies up in float32

CHOICES = [
    ("GradientDescentOptimizer", {"learning_rate": RATE}),
    ("MomentumOptimizer", {"learning_rate": RATE, "momentum": 0.875}),
    ("MomentumOptimizer", {"learning_rate": RATE, "momentum": 0.875, "use_nesterov": True}),
    ("AdamOptimizer", {**BETAS, "learning_rate": RATE, "epsilon": 2**-27}),
    ("AdamOptimizer", {**BETAS, "learning_rate": RATE, "epsilon": 0.125}),
    ("RMSPropOptimizer", {"decay": 0.875, "learning_rate": RATE, "epsilon": 0.0}),
    ("RMSPropOptimizer", {"decay": 0.875, "learning_rate": RATE, "epsilon": 0.0, "momentum": 0.875}),
    ("RMSPropOptimizer", {"decay": 0.875, "learning_rate": RATE, "epsilon": 0.0, "centered": True}),
    ("AdagradOptimizer", {"learning_rate": RATE}),
    ("AdadeltaOptimizer", {"learning_rate": 0.5, "rho": 0.9375, "epsilon": 2**-10}),
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
