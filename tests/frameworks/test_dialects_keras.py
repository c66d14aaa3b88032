"""Keras itself, run on its torch backend, beside PyTorch prepared by the translation."""

from __future__ import annotations

import inspect
import os

import numpy as np
import pytest

from suite.equivalence.dialects import dialects, translate
from tests.equivalence.following import START, deviation, follow, gradient

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", reason="Keras is not installed: the tox environment `frameworks` has it")
if keras.backend.backend() != "torch":
    pytest.skip("these tests run Keras on torch: KERAS_BACKEND=torch", allow_module_level=True)

# Keras's Nadam asks torch for a numpy array in a way that numpy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

STEPS = 30
ROUNDING = 1e-10
# Keras keeps some settings in float32: numbers that float32 holds leave float64's rounding alone.
RATE = 2**-4
BETAS = {"beta_1": 0.875, "beta_2": 0.9921875}
OPTIONS = {"l2"}  # a regulariser's, not the optimizer's

CHOICES = [
    ("SGD", {"learning_rate": RATE}),
    ("SGD", {"learning_rate": RATE, "momentum": 0.875}),
    ("SGD", {"learning_rate": RATE, "momentum": 0.875, "nesterov": True}),
    ("SGD", {"learning_rate": RATE, "weight_decay": 0.25}),
    ("SGD", {"learning_rate": RATE, "momentum": 0.875, "weight_decay": 0.25}),
    ("Adam", {**BETAS, "learning_rate": RATE}),
    ("Adam", {**BETAS, "learning_rate": RATE, "epsilon": 0.125}),
    ("Adam", {"learning_rate": RATE, "beta_1": 0.75, "beta_2": 0.96875, "epsilon": 2**-10}),
    ("Adam", {**BETAS, "learning_rate": RATE, "amsgrad": True, "epsilon": 2**-10}),
    ("Adam", {**BETAS, "learning_rate": RATE, "weight_decay": 0.25}),
    ("AdamW", {**BETAS, "learning_rate": RATE, "weight_decay": 2**-8}),
    ("AdamW", {**BETAS, "learning_rate": RATE, "weight_decay": 0.25, "epsilon": 2**-10}),
    ("Nadam", {**BETAS, "learning_rate": RATE}),
    ("Nadam", {**BETAS, "learning_rate": RATE, "epsilon": 0.125, "weight_decay": 0.25}),
    ("Adamax", {**BETAS, "learning_rate": RATE, "epsilon": 0.0}),
    ("Adamax", {**BETAS, "learning_rate": RATE, "epsilon": 0.0, "weight_decay": 0.25}),
    ("RMSprop", {"rho": 0.875, "learning_rate": RATE, "epsilon": 0.0}),
    (
        "RMSprop",
        {"rho": 0.875, "learning_rate": RATE, "epsilon": 0.0, "momentum": 0.875, "weight_decay": 0.25},
    ),
    ("Adagrad", {"learning_rate": RATE}),
    ("Adagrad", {"learning_rate": RATE, "epsilon": 0.125, "weight_decay": 0.25}),
    ("Adadelta", {"learning_rate": 0.5, "rho": 0.9375}),
    ("Adadelta", {"learning_rate": 0.5, "rho": 0.75, "epsilon": 2**-10, "weight_decay": 0.25}),
]
INEXACT = [
    ("RMSprop", {"rho": 0.875, "learning_rate": RATE, "epsilon": 0.125}),
    ("RMSprop", {"rho": 0.875, "learning_rate": RATE, "epsilon": 2**-6, "centered": True, "momentum": 0.875}),
    ("Adamax", {**BETAS, "learning_rate": RATE, "epsilon": 1.0}),
]


def run(optimizer, chosen, rates=None):
    """`[steps, params]` the weights after each step of Keras."""
    made = getattr(keras.optimizers, optimizer)(**chosen)
    weights = keras.Variable(START, dtype="float64")
    path = []
    for step in range(1, STEPS + 1):
        if rates is not None:
            made.learning_rate = rates[step - 1]
        before = weights.value.detach().numpy().copy()
        made.apply([keras.ops.convert_to_tensor(gradient(before, step))], [weights])
        path.append(weights.value.detach().numpy().copy())
    return np.array(path)


@pytest.mark.parametrize(("optimizer", "chosen"), CHOICES)
def test_pytorch_takes_the_steps_that_keras_takes(optimizer, chosen):
    translation = translate("keras", optimizer, chosen)
    assert translation.exact, translation.reason
    assert deviation(follow(translation, STEPS), run(optimizer, chosen)) < ROUNDING


@pytest.mark.parametrize(("optimizer", "chosen"), CHOICES)
def test_it_does_so_with_a_rate_that_drops(optimizer, chosen):
    rates = [RATE] * 10 + [RATE / 16] * 10 + [RATE / 2] * 10
    translation = translate("keras", optimizer, {**chosen, "learning_rate": rates})
    assert deviation(follow(translation, STEPS), run(optimizer, chosen, rates)) < ROUNDING


@pytest.mark.parametrize(("optimizer", "chosen"), INEXACT)
def test_where_it_says_no_keras_does_go_another_way(optimizer, chosen):
    translation = translate("keras", optimizer, chosen)
    assert not translation.exact
    assert deviation(follow(translation, STEPS), run(optimizer, chosen)) > 1e-3


def test_the_l2_regulariser_of_keras_is_twice_torchs_weight_decay():
    weights = keras.Variable(START, dtype="float64")
    penalty = keras.regularizers.L2(0.01)(weights.value)
    penalty.backward()
    expected = translate("keras", "SGD", {"l2": 0.01}).hyperparameters["weight_decay"] * START
    assert weights.value.grad.numpy() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "written", [w for w in dialects["keras"].optimizers if w.translate], ids=lambda w: w.name
)
def test_the_defaults_are_those_of_keras(written):
    signature = inspect.signature(getattr(keras.optimizers, written.name)).parameters
    ours = {p.name: p.default for p in written.parameters if p.name not in OPTIONS}
    assert ours == {name: signature[name].default for name in ours}


@pytest.mark.parametrize("name", [w.name for w in dialects["keras"].optimizers])
def test_keras_has_every_optimizer_that_is_listed(name):
    assert hasattr(keras.optimizers, name)
