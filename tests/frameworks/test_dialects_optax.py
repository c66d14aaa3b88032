"""optax itself, run, beside PyTorch prepared by the translation."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from suite.equivalence.dialects import dialects, translate
from suite.equivalence.dialects.dialect import REQUIRED
from tests.equivalence.following import START, deviation, follow, gradient

REASON = "optax is not installed: the tox environment `frameworks` has it"
jax = pytest.importorskip("jax", reason=REASON)
optax = pytest.importorskip("optax", reason=REASON)
jax.config.update("jax_enable_x64", True)

STEPS = 30
ROUNDING = 1e-10

CHOICES = [
    ("sgd", {}),
    ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.9, "nesterov": True}),
    ("adam", {}),
    ("adam", {"b1": 0.8, "b2": 0.95, "eps": 0.1}),
    ("adam", {"nesterov": True, "eps": 1e-3}),
    ("adamw", {}),
    ("adamw", {"weight_decay": 0.3, "eps": 0.1}),
    ("nadam", {}),
    ("nadamw", {"weight_decay": 0.3}),
    ("adamax", {"eps": 0.1}),
    ("adamaxw", {"eps": 0.1, "weight_decay": 0.3}),
    ("radam", {"eps": 0.1}),
    ("radam", {"b2": 0.95}),
    ("rmsprop", {"eps_in_sqrt": False, "eps": 1e-3}),
    ("rmsprop", {"eps_in_sqrt": False, "eps": 1e-3, "momentum": 0.9, "initial_scale": 1.0}),
    ("rmsprop", {"eps_in_sqrt": False, "eps": 1e-3, "centered": True, "initial_scale": 1.0}),
    ("rmsprop", {"eps_in_sqrt": False, "eps": 1e-3, "bias_correction": True, "momentum": 0.9}),
    ("rmsprop", {"eps": 0.0}),
    ("adagrad", {}),
    ("adagrad", {"initial_accumulator_value": 0.0, "eps": 0.1}),
    ("adadelta", {}),
    ("adadelta", {"rho": 0.8, "eps": 1e-3, "weight_decay": 0.3}),
]
INEXACT = [
    ("rmsprop", {"eps": 0.1}),
    ("rmsprop", {"eps": 1e-3, "centered": True}),
    ("rmsprop", {"eps_in_sqrt": False, "momentum": 0.9, "nesterov": True}),
    ("rmsprop", {"eps_in_sqrt": False, "eps": 1e-3, "centered": True, "bias_correction": True}),
    ("amsgrad", {"b2": 0.99}),
    ("adam", {"eps_root": 0.1}),
    ("radam", {"threshold": 4.0, "b2": 0.9}),
    ("radam", {"nesterov": True}),
]


def run(optimizer, chosen, rates):
    """`[steps, params]` the weights after each step of optax."""
    values = jax.numpy.asarray(rates)
    transformation = getattr(optax, optimizer)(
        learning_rate=lambda count: values[jax.numpy.minimum(count, len(rates) - 1)], **chosen
    )
    weights = jax.numpy.asarray(START)
    state = transformation.init(weights)
    path = []
    for step in range(1, STEPS + 1):
        gradients = jax.numpy.asarray(gradient(np.asarray(weights), step))
        updates, state = transformation.update(gradients, state, weights)
        weights = optax.apply_updates(weights, updates)
        path.append(np.asarray(weights))
    return np.array(path)


@pytest.mark.parametrize(("optimizer", "chosen"), CHOICES)
@pytest.mark.parametrize("rates", [[0.05] * 30, [0.05] * 10 + [0.005] * 10 + [0.02] * 10])
def test_pytorch_takes_the_steps_that_optax_takes(optimizer, chosen, rates):
    translation = translate("optax", optimizer, {"learning_rate": rates, **chosen})
    assert translation.exact, translation.reason
    assert deviation(follow(translation, STEPS), run(optimizer, chosen, rates)) < ROUNDING


@pytest.mark.parametrize(("optimizer", "chosen"), INEXACT)
def test_where_it_says_no_optax_does_go_another_way(optimizer, chosen):
    translation = translate("optax", optimizer, {"learning_rate": 0.05, **chosen})
    assert not translation.exact
    assert deviation(follow(translation, STEPS), run(optimizer, chosen, [0.05] * STEPS)) > 1e-3


@pytest.mark.parametrize(
    "written", [w for w in dialects["optax"].optimizers if w.translate], ids=lambda w: w.name
)
def test_the_defaults_are_those_of_optax(written):
    made = getattr(optax, written.name)
    signature = inspect.signature(getattr(made, "func", made)).parameters
    ours = {p.name: p.default for p in written.parameters if p.default is not REQUIRED}
    theirs = {name: signature[name].default for name in ours if name in signature}
    if written.name in ("nadam", "nadamw"):  # optax makes them of adam and adamw
        theirs["nesterov"] = True
    assert ours == theirs


@pytest.mark.parametrize("name", [w.name for w in dialects["optax"].optimizers])
def test_optax_has_every_optimizer_that_is_listed(name):
    assert hasattr(optax, name)
