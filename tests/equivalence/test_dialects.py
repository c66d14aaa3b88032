from __future__ import annotations

import itertools
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.equivalence.dialects import (
    Dialect,
    dialects,
    momentum_correction,
    prepare,
    rescale,
    scaled,
    translate,
)
from suite.equivalence.dialects.dialect import rate_schedule
from suite.errors import UsageError
from tests.equivalence import literal
from tests.equivalence.following import START, deviation, follow, gradient

STEPS = 32
ROUNDING = 1e-10
# A share of the profile, for there are some fifty rows.
FEW = settings(max_examples=max(settings.default.max_examples // 6, 5), deadline=None)

RATE = st.floats(1e-3, 0.1)
MOMENTUM = st.sampled_from([0.0, 0.5, 0.9])
BETA_1 = st.sampled_from([0.5, 0.9])
BETA_2 = st.sampled_from([0.9, 0.99, 0.999])
EPS = st.sampled_from([0.0, 1e-7, 1e-3, 0.1])
SOME_EPS = st.sampled_from([1e-7, 1e-3, 0.1])
DECAY = st.sampled_from([0.0, 0.01, 0.3])
SOME_DECAY = st.sampled_from([0.01, 0.3])
FLAG = st.booleans()
ADAM = {"beta_1": BETA_1, "beta_2": BETA_2, "epsilon": EPS, "weight_decay": DECAY}
B1B2 = {"b1": BETA_1, "b2": BETA_2, "eps": EPS}

# dialect, optimizer, the literal loop, the name of its rate, its other hyperparameters.
EXACT = [
    ("keras", "SGD", literal.keras_sgd, "learning_rate",
     {"momentum": MOMENTUM, "nesterov": FLAG, "weight_decay": DECAY}),
    ("keras", "SGD", literal.keras_sgd, "learning_rate",
     {"momentum": MOMENTUM, "nesterov": FLAG, "l2": DECAY}),
    ("keras", "Adam", literal.keras_adam, "learning_rate", {**ADAM, "amsgrad": FLAG}),
    ("keras", "Adam", literal.keras_adam, "learning_rate", {"epsilon": EPS, "l2": DECAY}),
    ("keras", "AdamW", literal.keras_adam, "learning_rate", {**ADAM, "weight_decay": SOME_DECAY}),
    ("keras", "Nadam", literal.keras_nadam, "learning_rate", ADAM),
    ("keras", "Nadam", literal.keras_nadam, "learning_rate", {"epsilon": EPS, "l2": DECAY}),
    ("keras", "Adamax", literal.keras_adamax, "learning_rate", {**ADAM, "epsilon": st.just(0.0)}),
    ("keras", "RMSprop", literal.keras_rmsprop, "learning_rate",
     {"rho": BETA_2, "momentum": MOMENTUM, "epsilon": st.just(0.0), "weight_decay": DECAY}),
    ("keras", "Adagrad", literal.keras_adagrad, "learning_rate",
     {"initial_accumulator_value": SOME_EPS, "epsilon": EPS, "weight_decay": DECAY}),
    ("keras", "Adagrad", literal.keras_adagrad, "learning_rate",
     {"initial_accumulator_value": SOME_EPS, "epsilon": EPS, "l2": DECAY}),
    ("keras", "Adadelta", literal.keras_adadelta, "learning_rate",
     {"rho": BETA_2, "epsilon": SOME_EPS, "weight_decay": DECAY}),
    ("tf1", "GradientDescentOptimizer",
     lambda *a, **k: literal.tf1_momentum(*a, **k, momentum=0.0), "learning_rate", {"l2": DECAY}),
    ("tf1", "MomentumOptimizer", literal.tf1_momentum, "learning_rate",
     {"momentum": MOMENTUM, "use_nesterov": FLAG, "l2": DECAY}),
    ("tf1", "AdamOptimizer",
     lambda *a, beta1, beta2, **k: literal.keras_adam(*a, beta_1=beta1, beta_2=beta2, **k),
     "learning_rate", {"beta1": BETA_1, "beta2": BETA_2, "epsilon": EPS}),
    ("tf1", "RMSPropOptimizer",
     lambda *a, decay, **k: literal.keras_rmsprop(*a, rho=decay, start=1.0, **k),
     "learning_rate",
     {"decay": BETA_2, "momentum": MOMENTUM, "epsilon": st.just(0.0), "centered": FLAG}),
    ("tf1", "AdagradOptimizer", literal.tf1_adagrad, "learning_rate",
     {"initial_accumulator_value": SOME_EPS, "l2": DECAY}),
    ("tf1", "AdadeltaOptimizer", literal.keras_adadelta, "learning_rate",
     {"rho": BETA_2, "epsilon": SOME_EPS}),
    ("optax", "sgd", literal.tf1_momentum, "learning_rate", {"momentum": MOMENTUM}),
    ("optax", "adam", literal.optax_adam, "learning_rate", {**B1B2, "nesterov": FLAG}),
    ("optax", "adamw", literal.optax_adam, "learning_rate",
     {**B1B2, "weight_decay": DECAY, "nesterov": FLAG}),
    ("optax", "nadam", lambda *a, **k: literal.optax_adam(*a, nesterov=True, **k),
     "learning_rate", B1B2),
    ("optax", "nadamw", lambda *a, **k: literal.optax_adam(*a, nesterov=True, **k),
     "learning_rate", {**B1B2, "weight_decay": SOME_DECAY}),
    ("optax", "adamax", literal.optax_adamax, "learning_rate", {**B1B2, "eps": SOME_EPS}),
    ("optax", "adamaxw", literal.optax_adamax, "learning_rate",
     {**B1B2, "eps": SOME_EPS, "weight_decay": SOME_DECAY}),
    ("optax", "radam", literal.optax_radam, "learning_rate", B1B2),
    ("optax", "rmsprop", literal.optax_rmsprop, "learning_rate",
     {"decay": BETA_2, "eps": SOME_EPS, "eps_in_sqrt": st.just(False), "momentum": MOMENTUM,
      "initial_scale": EPS, "bias_correction": FLAG}),
    ("optax", "rmsprop", literal.optax_rmsprop, "learning_rate",
     {"decay": BETA_2, "eps": st.just(0.0), "momentum": MOMENTUM, "bias_correction": FLAG}),
    ("optax", "rmsprop", literal.optax_rmsprop, "learning_rate",
     {"decay": st.just(0.9), "eps": SOME_EPS, "eps_in_sqrt": st.just(False), "centered": FLAG,
      "initial_scale": SOME_EPS}),
    ("optax", "adagrad", lambda *a, eps, **k: literal.keras_adagrad(*a, epsilon=eps, **k),
     "learning_rate", {"initial_accumulator_value": SOME_EPS, "eps": EPS}),
    ("optax", "adadelta", literal.optax_adadelta, "learning_rate",
     {"rho": BETA_2, "eps": SOME_EPS, "weight_decay": DECAY}),
    ("sklearn", "sgd", literal.sklearn_mlp_sgd, "learning_rate_init",
     {"momentum": MOMENTUM, "nesterovs_momentum": FLAG, "alpha": st.just(0.0)}),
    ("sklearn", "adam",
     lambda *a, learning_rate_init, alpha, **k: literal.keras_adam(*a, learning_rate=learning_rate_init, **k),
     "learning_rate_init",
     {"beta_1": BETA_1, "beta_2": BETA_2, "epsilon": SOME_EPS, "alpha": st.just(0.0)}),
    ("caffe", "SGD", literal.mxnet_sgd, "learning_rate", {"momentum": MOMENTUM}),
    ("caffe", "Nesterov", literal.caffe_nesterov, "base_lr",
     {"momentum": MOMENTUM, "weight_decay": DECAY}),
    ("caffe", "AdaGrad", literal.caffe_adagrad, "base_lr",
     {"delta": SOME_EPS, "weight_decay": DECAY}),
    ("caffe", "RMSProp", literal.caffe_rmsprop, "base_lr",
     {"rms_decay": BETA_2, "delta": SOME_EPS, "weight_decay": DECAY}),
    ("caffe", "AdaDelta", literal.caffe_adadelta, "base_lr",
     {"momentum": BETA_2, "delta": SOME_EPS, "weight_decay": DECAY}),
    ("caffe", "Adam", literal.caffe_adam, "base_lr",
     {"momentum": BETA_1, "momentum2": BETA_2, "delta": EPS, "weight_decay": DECAY}),
    ("alexnet", "SGD", literal.alexnet, "lr", {"momentum": MOMENTUM, "weight_decay": DECAY}),
    ("mxnet", "SGD", literal.mxnet_sgd, "learning_rate", {"momentum": MOMENTUM, "wd": DECAY}),
    ("darknet", "SGD", literal.darknet_sgd, "learning_rate", {"momentum": MOMENTUM, "decay": DECAY}),
    ("bert", "AdamWeightDecayOptimizer", literal.bert_adam, "learning_rate",
     {"beta_1": BETA_1, "beta_2": BETA_2, "epsilon": EPS, "weight_decay_rate": DECAY}),
]  # fmt: skip
NAMES = [f"{row[0]}-{row[1]}-{number}" for number, row in enumerate(EXACT)]


@pytest.mark.parametrize("row", EXACT, ids=NAMES)
@FEW
@given(data=st.data())
def test_an_exact_translation_takes_the_steps_of_the_literal_loop(row, data):
    dialect, optimizer, loop, rate, others = row
    lr = data.draw(RATE)
    drawn = {name: data.draw(values, label=name) for name, values in others.items()}
    aliased = "lr" if (dialect, optimizer) == ("caffe", "SGD") else rate
    translation = translate(dialect, optimizer, {aliased: lr, **drawn})
    assert translation.exact, translation.reason
    expected = loop(START, gradient, STEPS, **{rate: lr}, **drawn)
    assert deviation(follow(translation, STEPS), expected) < ROUNDING


@pytest.mark.parametrize("row", EXACT, ids=NAMES)
@FEW
@given(data=st.data())
def test_it_is_exact_too_with_a_rate_that_changes_from_step_to_step(row, data):
    dialect, optimizer, loop, rate, others = row
    levels = data.draw(st.lists(RATE, min_size=4, max_size=4))
    lrs = list(itertools.chain.from_iterable([level] * (STEPS // 4) for level in levels))
    drawn = {name: data.draw(values, label=name) for name, values in others.items()}
    translation = translate(dialect, optimizer, {"lr": lrs, **drawn})
    expected = loop(START, gradient, STEPS, **{rate: lrs}, **drawn)
    assert deviation(follow(translation, STEPS), expected) < ROUNDING


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_rate_may_warm_up_from_zero(nesterov):
    rates = [0.0, 0.0, 0.01, 0.02, 0.02, 0.002]
    chosen = {"momentum": 0.9, "nesterov": nesterov}
    path = follow(translate("keras", "SGD", {"lr": rates, **chosen}), 6)
    expected = literal.keras_sgd(START, gradient, 6, learning_rate=rates, **chosen)
    assert deviation(path, expected) < ROUNDING


def test_a_rate_that_falls_to_zero_is_refused_where_the_velocity_would_go_on():
    translation = translate("keras", "SGD", {"lr": [0.1, 0.0, 0.1], "momentum": 0.9})
    with pytest.raises(UsageError, match="lr is 0 at step 2"):
        follow(translation, 3)


@pytest.mark.parametrize("nesterov", [False, True])
def test_without_the_factor_of_the_buffer_a_rate_drop_goes_another_way(nesterov):
    rates = [0.1] * 5 + [0.01] * 5
    keras = literal.keras_sgd(START, gradient, 10, learning_rate=rates, momentum=0.9, nesterov=nesterov)
    torch_as_it_is = literal.tf1_momentum(
        START, gradient, 10, learning_rate=rates, momentum=0.9, use_nesterov=nesterov
    )
    assert deviation(torch_as_it_is, keras) > 0.05


def test_goyals_momentum_correction_makes_the_velocity_inside_go_like_the_one_outside():
    rates = [0.1] * 5 + [0.01] * 5
    weights, velocity, path = START.copy(), np.zeros_like(START), []
    for t, (before, rate) in enumerate(zip([rates[0], *rates], rates, strict=False), 1):
        velocity *= momentum_correction(before, rate)
        velocity = 0.9 * velocity + rate * gradient(weights, t)
        weights = weights - velocity
        path.append(weights)
    outside = literal.tf1_momentum(START, gradient, 10, learning_rate=rates, momentum=0.9)
    assert deviation(np.array(path), outside) < 1e-14
    assert momentum_correction(0.1, 0.01) == pytest.approx(0.1)
    with pytest.raises(UsageError, match="nothing to correct"):
        momentum_correction(0.0, 0.1)


# What cannot be said exactly: the nearest translation visibly fails.
INEXACT = [
    ("keras", "RMSprop", literal.keras_rmsprop, {"epsilon": 0.1}),
    ("keras", "RMSprop", literal.keras_rmsprop, {"epsilon": 0.1, "centered": True}),
    ("keras", "Adamax", literal.keras_adamax, {"epsilon": 1.0}),
    ("keras", "Adam", literal.keras_adam, {"weight_decay": 0.1, "l2": 0.1}),
    ("keras", "SGD", literal.keras_sgd, {"weight_decay": 0.3, "l2": 0.1}),
    ("optax", "adam", literal.optax_adam, {"eps_root": 0.1}),
    ("optax", "nadam", lambda *a, **k: literal.optax_adam(*a, nesterov=True, **k),
     {"eps_root": 0.1}),
    ("optax", "amsgrad", lambda *a, **k: literal.optax_adam(*a, maximum=True, **k), {"b2": 0.99}),
    ("optax", "rmsprop", literal.optax_rmsprop, {"eps": 0.1}),
    ("optax", "rmsprop", literal.optax_rmsprop,
     {"momentum": 0.9, "nesterov": True, "eps_in_sqrt": False}),
    ("optax", "rmsprop", literal.optax_rmsprop,
     {"centered": True, "bias_correction": True, "eps_in_sqrt": False, "eps": 1e-3}),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "optimizer", "loop", "chosen"), INEXACT)
def test_where_it_says_no_the_nearest_translation_does_go_another_way(dialect, optimizer, loop, chosen):
    translation = translate(dialect, optimizer, {"learning_rate": 0.05, **chosen})
    assert not translation.exact
    expected = loop(START, gradient, STEPS, learning_rate=0.05, **chosen)
    assert deviation(follow(translation, STEPS), expected) > 1e-3


@FEW
@given(v=st.floats(0, 1e6), eps=st.floats(1e-12, 10))
def test_the_root_of_eps_is_never_further_off_than_it_says(v, eps):
    nearest = translate("keras", "RMSprop", {"epsilon": eps}).hyperparameters["eps"]
    ratio = math.sqrt(v + eps) / (math.sqrt(v) + nearest)
    assert 1 - 0.293 <= ratio <= 1 + 1e-12


def test_the_root_of_eps_is_furthest_off_where_it_says():
    eps = 0.01
    nearest = translate("keras", "RMSprop", {"epsilon": eps}).hyperparameters["eps"]
    assert math.sqrt(2 * eps) / (math.sqrt(eps) + nearest) == pytest.approx(1 - 0.293, abs=1e-3)


def test_a_constant_eps_misses_tensorflows_first_steps():
    tf1 = literal.keras_adam(START, gradient, 3, learning_rate=0.1, epsilon=0.1)
    translation = translate("tf1", "AdamOptimizer", {"lr": 0.1, "epsilon": 0.1})
    assert deviation(follow(translation, 3), tf1) < ROUNDING
    constant = literal.optax_adam(START, gradient, 3, learning_rate=0.1, eps=0.1)
    assert deviation(constant, tf1) > 0.05
    assert translation.schedule["eps"](1) == pytest.approx(0.1 / math.sqrt(0.001))


def test_adamw_papers_decay_is_divided_by_alpha_also_under_a_schedule():
    multiplier = [1.0, 1.0, 0.5, 0.25, 0.25, 0.0]
    paper = literal.adamw_paper(START, gradient, 6, lr=0.01, weight_decay=0.002, multiplier=multiplier)
    translation = translate("adamw-paper", "AdamW", {"lr": 0.01, "weight_decay": 0.002})
    assert translation.hyperparameters["weight_decay"] == pytest.approx(0.2)

    def scheduled(step):
        return 0.01 * multiplier[step - 1]

    path = follow(_with_rate(translation, scheduled), 6)
    assert deviation(path, paper) < ROUNDING


def _with_rate(translation, rate):
    return replace(translation, schedule={"lr": rate})


def test_sgdw_keeps_the_decay_out_of_the_momentum():
    chosen = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.02}
    translation = translate("adamw-paper", "SGDW", chosen)
    assert translation.exact
    expected = literal.sgdw_paper(START, gradient, STEPS, **chosen)
    # SGDW decays the weights that the gradient was taken at, hence before the step.
    assert deviation(follow(translation, STEPS), expected) < ROUNDING


def test_sklearns_alpha_is_divided_by_the_batch_size():
    translation = translate("sklearn", "sgd", {"alpha": 0.5}, batch_size=10)
    assert translation.hyperparameters["weight_decay"] == pytest.approx(0.05)
    expected = literal.sklearn_mlp_sgd(START, gradient, STEPS, learning_rate_init=0.001, alpha=0.5, n=10)
    assert deviation(follow(translation, STEPS), expected) < ROUNDING
    assert any("biases" in note for note in translation.notes)
    with pytest.raises(UsageError, match="give batch_size"):
        translate("sklearn", "adam", {})


def test_keras_l2_has_no_half_and_tensorflows_l2_loss_has():
    keras = translate("keras", "SGD", {"lr": 0.1, "l2": 0.01}).hyperparameters
    tf1 = translate("tf1", "GradientDescentOptimizer", {"lr": 0.1, "l2": 0.01}).hyperparameters
    assert (keras["weight_decay"], tf1["weight_decay"]) == (0.02, 0.01)


def test_dqn_is_not_exact_and_says_what_is_nearest():
    translation = translate("dqn", "RMSProp", {"lr": 2.5e-4})
    assert (translation.optimizer, translation.exact) == ("RMSprop", False)
    assert translation.hyperparameters == {
        "lr": 2.5e-4,
        "alpha": 0.95,
        "eps": 0.1,
        "centered": True,
    }
    literal_path = literal.dqn_rmsprop(START, gradient, STEPS, lr=0.01)
    nearest = follow(translate("dqn", "RMSProp", {"lr": 0.01}), STEPS)
    copied = follow(translate("caffe", "RMSProp", {"lr": 0.01, "delta": 0.01}), STEPS)
    assert 1e-3 < deviation(nearest, literal_path) < deviation(copied, literal_path)


def test_glove_is_torchs_adagrad_but_for_the_order_of_dividing_and_adding():
    translation = translate("glove", "AdaGrad", {})
    assert not translation.exact
    assert translation.hyperparameters["initial_accumulator_value"] == pytest.approx(400)
    assert "divides before it adds" in translation.reason
    rates = (0.001, 0.05)
    near, far = (
        deviation(
            follow(translate("glove", "AdaGrad", {"eta": eta}), STEPS),
            literal.glove_adagrad(START, gradient, STEPS, eta=eta),
        )
        for eta in rates
    )
    assert 0 < 100 * near < far < 1e-3  # it goes with the square of the rate times the gradient


# The dialects' own laws: s times the gradient, the same steps.
OTHERWISE_SCALED = ("RMSPropOptimizer", "AdadeltaOptimizer", "AdagradOptimizer", "radam", "Adamax")
LAWS = [row for row in EXACT if row[1] not in OTHERWISE_SCALED] + [
    ("keras", "RMSprop", literal.keras_rmsprop, "learning_rate",
     {"rho": BETA_2, "momentum": MOMENTUM, "epsilon": SOME_EPS, "centered": FLAG}),
    ("keras", "Adamax", literal.keras_adamax, "learning_rate", {"epsilon": SOME_EPS}),
    ("optax", "rmsprop", literal.optax_rmsprop, "learning_rate",
     {"eps": SOME_EPS, "initial_scale": SOME_EPS, "momentum": MOMENTUM}),
    ("optax", "adam", literal.optax_adam, "learning_rate", {**B1B2, "eps_root": SOME_EPS}),
    ("tf1", "AdadeltaOptimizer", literal.keras_adadelta, "learning_rate", {"epsilon": SOME_EPS}),
    ("tf1", "AdagradOptimizer", literal.tf1_adagrad, "learning_rate",
     {"initial_accumulator_value": SOME_EPS, "l2": DECAY}),
    ("optax", "amsgrad", lambda *a, **k: literal.optax_adam(*a, maximum=True, **k), "learning_rate",
     {**B1B2, "eps": SOME_EPS}),
    ("sklearn", "SGDRegressor", literal.sklearn_sgd, "eta0",
     {"power_t": st.sampled_from([0.0, 0.25, 0.5]), "alpha": DECAY}),
    ("dqn", "RMSProp", literal.dqn_rmsprop, "lr", {"eps": SOME_EPS, "weight_cost": DECAY}),
    ("glove", "AdaGrad", literal.glove_adagrad, "eta", {}),
    ("adamw-paper", "AdamW", literal.adamw_paper, "lr", {"eps": EPS, "weight_decay": SOME_DECAY}),
    ("adamw-paper", "SGDW", literal.sgdw_paper, "lr",
     {"momentum": MOMENTUM, "weight_decay": SOME_DECAY}),
]  # fmt: skip


BESIDES = {
    ("sklearn", "SGDRegressor"): "tests/frameworks/test_dialects_sklearn.py trains scikit-learn's own",
    ("glove", "AdaGrad"): "test_glove_is_torchs_adagrad_but_for_the_order_of_dividing_and_adding",
    ("adamw-paper", "AdamW"): "test_adamw_papers_decay_is_divided_by_alpha_also_under_a_schedule",
    ("adamw-paper", "SGDW"): "test_sgdw_keeps_the_decay_out_of_the_momentum",
    ("dqn", "RMSProp"): "test_dqn_is_not_exact_and_says_what_is_nearest",
}
"""Translations that are held against a literal loop elsewhere than in the lists above."""


def untested(dialect: Dialect) -> list[str]:
    """What a dialect lacks to be tested."""
    translated, scaled = ({(row[0], row[1]) for row in rows} for rows in ((*EXACT, *INEXACT), LAWS))
    found = []
    for written in dialect.optimizers:
        key = dialect.name, written.name
        if written.translate is not None and key not in translated and key not in BESIDES:
            found.append(f"EXACT has no literal loop of {dialect.name} {written.name}")
        if written.parameters and not written.unscaled and key not in scaled:
            found.append(f"LAWS does not try the exponents of {dialect.name} {written.name}")
    return found


@pytest.mark.parametrize("name", dialects.names)
def test_every_optimizer_of_a_dialect_is_held_against_a_literal_loop(name):
    assert untested(dialects[name]) == []


def test_a_dialect_that_is_made_up_is_asked_for_its_loops():
    mine = replace(dialects["mxnet"], name="mine")
    assert untested(mine) == [
        "EXACT has no literal loop of mine SGD",
        "LAWS does not try the exponents of mine SGD",
    ]


@pytest.mark.parametrize("row", LAWS, ids=[f"{row[0]}-{row[1]}-{n}" for n, row in enumerate(LAWS)])
@FEW
@given(data=st.data())
def test_rescaled_hyperparameters_take_the_same_steps_in_the_dialect_itself(row, data):
    dialect, optimizer, loop, rate, others = row
    scale = data.draw(st.sampled_from([1 / 32, 2.0, 3.7, 100.0]))
    drawn = {name: data.draw(values, label=name) for name, values in others.items()}
    rescaled = rescale(dialect, optimizer, {"lr": 0.01, **drawn}, scale)
    spelled = {p.key: p.name for p in dialects[dialect][optimizer].parameters}
    new = {name: rescaled[name] for name in drawn if name in rescaled}
    if (dialect, optimizer) == ("caffe", "SGD"):
        new = {"momentum": rescaled["momentum"]}
    path = loop(
        START,
        lambda w, t: scale * gradient(w, t),
        STEPS,
        **{rate: rescaled[spelled["lr"]]},
        **new,
    )
    assert deviation(path, loop(START, gradient, STEPS, **{rate: 0.01}, **drawn)) < ROUNDING


SCALED = [row for row in EXACT if row[1] != "radam"]


@pytest.mark.parametrize("row", SCALED, ids=[f"{row[0]}-{row[1]}-{n}" for n, row in enumerate(SCALED)])
@FEW
@given(data=st.data())
def test_a_scaled_translation_takes_the_dialects_steps_on_a_scaled_gradient(row, data):
    dialect, optimizer, loop, rate, others = row
    scale = data.draw(st.sampled_from([1 / 32, 2.0, 3.7, 100.0]))
    drawn = {name: data.draw(values, label=name) for name, values in others.items()}
    translation = scaled(translate(dialect, optimizer, {"lr": 0.01, **drawn}), scale)
    assert translation.exact, translation.reason
    path = follow(translation, STEPS, gradient=lambda w, t: scale * gradient(w, t))
    assert deviation(path, loop(START, gradient, STEPS, **{rate: 0.01}, **drawn)) < ROUNDING


def test_a_scaled_translation_stays_inexact_and_says_why():
    translation = scaled(translate("dqn", "RMSProp", {"lr": 2.5e-4}), 1 / 32)
    assert not translation.exact
    assert translation.hyperparameters["eps"] == pytest.approx(math.sqrt(0.01 / 32**2))
    assert "inside the root" in translation.reason
    radam = scaled(translate("optax", "radam", {"lr": 0.1}), 2.0)
    assert not radam.exact
    assert "scale:" in radam.reason


def test_scaling_by_one_changes_nothing():
    translation = translate("keras", "Adam", {"lr": 0.1})
    assert scaled(translation, 1.0) is translation


def test_dqns_eps_becomes_dopamines():
    scaled = rescale("dqn", "RMSProp", {"lr": 2.5e-4, "eps": 0.01}, 1 / 32)
    assert scaled["eps"] == 0.01 / 32**2
    assert scaled["lr"] == 2.5e-4


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_a_scale_must_be_positive_and_finite(scale):
    with pytest.raises(UsageError, match=r"number greater than 0 is needed|set the optimizer's maximize"):
        rescale("keras", "SGD", {}, scale)


@pytest.mark.parametrize("scale", [2e-311, 1e307])
def test_what_no_float_holds_in_the_dialects_own_words_is_refused(scale):
    with pytest.raises(UsageError, match=r"learning_rate=0\.01 times .* does not fit a float: take a scale"):
        rescale("keras", "SGD", {}, scale)


def test_what_no_constants_can_absorb_is_refused():
    with pytest.raises(UsageError, match="starts at 1"):
        rescale("tf1", "RMSPropOptimizer", {"lr": 0.1}, 2.0)
    with pytest.raises(UsageError, match="first steps"):
        rescale("optax", "radam", {"lr": 0.1}, 2.0)
    with pytest.raises(UsageError, match="not worked out"):
        rescale("keras", "Ftrl", {}, 2.0)
    with pytest.raises(UsageError, match=r"suite\.equivalence\.equivalent"):
        rescale("torch", "SGD", {"lr": 0.1}, 2.0)


@pytest.mark.parametrize(
    ("dialect", "optimizer", "chosen", "says"),
    [
        ("kers", "SGD", {}, "did you mean 'keras'"),
        ("keras", "Adma", {}, "did you mean .*'Adam'"),
        ("keras", "SGD", {"learning_rat": 0.1}, "did you mean .*'learning_rate'"),
        ("keras", "SGD", {"lr": "fast"}, "a finite number is needed"),
        ("keras", "SGD", {"lr": float("nan")}, "a finite number is needed"),
        ("keras", "SGD", {"lr": 10**400}, r"lr is 1000.*\(401 characters\); a finite number"),
        ("keras", "SGD", {"lr": -0.1}, "must not be negative"),
        ("keras", "Adam", {"beta_2": 1}, "beta_2 is 1.0, it must be from 0 to below 1"),
        ("adamw-paper", "AdamW", {"lr": 0, "weight_decay": 0.1}, "lr=0.0.*division by zero; give other"),
        ("keras", "SGD", {"lr": 0.1, "learning_rate": 0.1}, "given twice"),
        ("keras", "SGD", {"nesterov": 0.5}, "true or false"),
        ("keras", "Adam", {"betas": 0.9}, "two numbers"),
        ("keras", "Ftrl", {}, "torch.optim has no such optimizer"),
        ("optax", "sgd", {}, "needs learning_rate"),
    ],
)
def test_wrong_input_gets_one_clear_line(dialect, optimizer, chosen, says):
    with pytest.raises(UsageError, match=says) as error:
        translate(dialect, optimizer, chosen)
    assert "\n" not in str(error.value)


def test_torch_passes_through():
    translation = translate("torch", "Adam", {"lr": 0.1, "betas": (0.9, 0.99)})
    assert translation.hyperparameters == {"lr": 0.1, "betas": (0.9, 0.99)}
    assert translation.exact
    assert translation.constant


def test_torchs_spelling_is_understood_in_every_dialect():
    ours = translate("keras", "Adam", {"lr": 0.1, "betas": (0.8, 0.99), "eps": 1e-6})
    theirs = translate(
        "keras", "Adam", {"learning_rate": 0.1, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-6}
    )
    assert ours.hyperparameters == theirs.hyperparameters


def test_prepare_refuses_another_optimizer_and_a_late_start():
    import torch

    weights = torch.nn.Parameter(torch.ones(2))
    weights.grad = torch.ones(2)
    sgd = torch.optim.SGD([weights], lr=0.1)
    translation = translate("tf1", "RMSPropOptimizer", {"lr": 0.1})
    with pytest.raises(UsageError, match="for RMSprop, not for SGD"):
        prepare(sgd, translation, 1)
    rmsprop = torch.optim.RMSprop([weights])
    rmsprop.step()
    with pytest.raises(UsageError, match="stepped already"):
        prepare(rmsprop, translation, 1)


def test_a_translation_says_everything_in_words_and_in_json():
    translation = translate(
        "keras", "SGD", {"lr": [0.1, 0.01], "momentum": 0.9, "weight_decay": 0.5}, steps=2
    )
    assert translation.python == "torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)"
    assert len(translation.instructions) == 3
    assert "multiply state 'momentum_buffer' by lr(t−1)/lr(t): 1, 10" in "".join(translation.instructions)
    plain = translation.as_dict()
    assert plain["schedule"]["lr"]["values"] == [0.1, 0.01]
    assert plain["factors"]["param"]["values"] == pytest.approx([0.95, 0.995])
    assert translation.at(2)["lr"] == 0.01


def test_every_dialect_says_where_its_formulas_were_read_and_how_they_were_verified():
    marks = {"measured", "code read", "paper read", "third party", "not checked"}
    for dialect in dialects:
        assert dialect.source
        assert dialect.verified in marks


def test_translating_needs_no_torch():
    code = (
        "import sys; from suite.equivalence.dialects import translate; "
        "translate('keras', 'Adam', {}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_dialects_card_names_what_it_translates_and_what_it_does_not():
    card = dialects["keras"].card()
    assert "Adam" in card["optimizers"]
    assert "Ftrl" in card["without translation"]
    assert dialects["torch"].card()["optimizers"] == "all of torch.optim"


def test_a_parameter_group_keeps_its_share_of_what_is_scheduled():
    import torch

    weights, biases = (torch.nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(2))
    chosen = {"learning_rate": 0.01, "weight_decay_rate": 0.1}
    translation = translate("bert", "AdamWeightDecayOptimizer", chosen)
    groups = [{"params": [weights]}, {"params": [biases], "weight_decay": 0.0, "lr": 0.02}]
    optimizer = torch.optim.AdamW(groups, **translation.hyperparameters)
    for step in (1, 2):
        for parameter in (weights, biases):
            parameter.grad = torch.ones(2, dtype=torch.float64)
        prepare(optimizer, translation, step)
        optimizer.step()
        first, second = optimizer.param_groups
        assert first["lr"] == translation.schedule["lr"](step)
        assert second["lr"] == pytest.approx(2 * first["lr"])
        assert second["weight_decay"] == 0.0
        assert first["weight_decay"] == translation.schedule["weight_decay"](step)


def test_a_schedule_may_be_given_as_one():
    given = rate_schedule([0.1, 0.2], "SGD")
    assert rate_schedule(given, "SGD") is given


def test_a_step_beyond_the_given_rates_is_refused():
    with pytest.raises(UsageError, match="SGD: lr has 2 steps, step 3 is asked for; give more rates"):
        rate_schedule([0.1, 0.2], "SGD")(3)


def test_training_lasts_a_step_at_least():
    with pytest.raises(UsageError, match="steps is 0; it must be at least 1"):
        translate("torch", "SGD", {"lr": 0.1}, steps=0)


def test_two_decays_of_adagrad_have_no_one_translation():
    settings = {"learning_rate": 0.1, "weight_decay": 0.1, "l2": 0.1}
    found = translate("keras", "Adagrad", settings)
    assert not found.exact


def test_none_stays_where_it_is_the_default():
    assert translate("keras", "Adam", {"learning_rate": 0.1, "weight_decay": None}).exact


@pytest.mark.parametrize(
    ("settings", "says"), [({"nesterov": True}, "no Nesterov momentum"), ({"threshold": 4}, "from ρ = 5 on")]
)
def test_what_torchs_radam_cannot_do_is_said(settings, says):
    found = translate("optax", "radam", {"learning_rate": 0.1, **settings})
    assert not found.exact
    assert says in found.reason


def test_without_decay_sgdw_is_sgd():
    settings = {"lr": 0.1, "momentum": 0.9}
    found = translate("adamw-paper", "SGDW", {**settings, "weight_decay": 0.0})
    assert not found.factors
