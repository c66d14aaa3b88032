"""optax: PyTorch's formulas for momentum and Adam, its own for RMSprop, Adagrad and AMSGrad."""

from __future__ import annotations

import math
from typing import Any

from suite.equivalence.dialects import formulas
from suite.equivalence.dialects.dialect import (
    Dialect,
    Parameter,
    Setting,
    Values,
    Written,
    dialects,
)
from suite.equivalence.dialects.translation import Schedule, Translation

RATE = Parameter("learning_rate", "lr")
STEP = Parameter("learning_rate", "lr", exponent=-1)
BETAS = (Parameter("b1", "beta1", 0.9), Parameter("b2", "beta2", 0.999))
EPS = Parameter("eps", "eps", 1e-8, 1)
EPS_ROOT = Parameter("eps_root", "eps_root", 0.0, 2)
DECAY = Parameter("weight_decay", "weight_decay", 1e-4)
NESTEROV = Parameter("nesterov", "nesterov", default=False)
LOOK_AHEAD = 1e5
"""The momentum_decay at which 0.96^(t·momentum_decay) is 0 in float64: momentum β1 at each step."""


def _sgd(values: Values, setting: Setting) -> Translation:
    return formulas.sgd(values, setting, inside=False)


def _adam(values: Values, _: Setting) -> Translation:
    ahead = values["nesterov"]
    translation = _nadam(values) if ahead else formulas.adam(values, hat=False)
    return _without_root(translation, values["eps_root"])


def _without_root(translation: Translation, root: float) -> Translation:
    """`eps_root` has no place in torch; `√eps_root` beside eps is the nearest."""
    if not root:
        return translation
    nearest = {**translation.hyperparameters}
    nearest["eps"] += math.sqrt(root)
    return formulas.build(translation.optimizer, nearest, f"eps_root: {formulas.ROOT}", exact=False)


def _nadam(values: Values) -> Translation:
    decay = values.get("weight_decay") or 0.0
    return formulas.build(
        "NAdam",
        {
            "lr": values["lr"],
            "betas": (values["beta1"], values["beta2"]),
            "eps": values["eps"],
            "momentum_decay": LOOK_AHEAD,
            "weight_decay": decay,
            "decoupled_weight_decay": decay > 0,
        },
        "optax looks ahead with β1 itself; torch's β1(1 − ½·0.96^(t·momentum_decay)) is β1 where "
        "momentum_decay is so large that the power is 0",
        notes=(formulas.PRODUCT,),
    )


def _amsgrad(values: Values, _: Setting) -> Translation:
    hyperparameters = {
        "lr": values["lr"],
        "betas": (values["beta1"], values["beta2"]),
        "eps": values["eps"],
        "amsgrad": True,
    }
    return _without_root(
        formulas.build(
            "Adam",
            hyperparameters,
            "optax takes the maximum of the bias-corrected second moments, torch that of the "
            "uncorrected ones; they differ while 1 − β2^t is visibly below 1",
            exact=False,
        ),
        values["eps_root"],
    )


def _rmsprop(values: Values, setting: Setting) -> Translation:
    root = values["eps_in_sqrt"]
    values = {**values, "momentum": values["momentum"] or 0.0}
    translation = formulas.rmsprop(values, setting, root=root)
    wrong = ""
    if values["nesterov"] and values["momentum"]:
        wrong = "torch's RMSprop has no Nesterov momentum"
    elif values["bias_correction"] and values["centered"]:
        wrong = "torch's RMSprop has no bias correction, and none can be put into a centered one"
    if wrong:
        return formulas.build(
            "RMSprop",
            translation.hyperparameters,
            wrong,
            exact=False,
            initial_state=translation.initial_state,
            factors=translation.factors,
        )
    return _corrected(translation, values, setting) if values["bias_correction"] else translation


def _corrected(translation: Translation, values: Values, setting: Setting) -> Translation:
    """`g/(√(v/c) + ε) = √c · g/(√v + √c ε)`, `c = 1 − α^t`: the correction moves to lr and eps."""
    alpha, lr = values["alpha"], values["lr"]
    eps = translation.hyperparameters["eps"]
    rate = setting.rate or Schedule(f"{lr:g}", lambda _: lr)

    def root(step: int) -> float:
        return math.sqrt(1 - alpha**step)

    moving = Schedule(f"{rate.formula}·√(1 − {alpha:g}^t)", lambda step: rate(step) * root(step))
    return formulas.build(
        "RMSprop",
        translation.hyperparameters,
        translation.reason if not translation.exact else "the bias correction moves to lr and eps",
        exact=translation.exact,
        schedule={
            "lr": moving,
            "eps": Schedule(f"{eps:g}·√(1 − {alpha:g}^t)", lambda step: eps * root(step)),
        },
        initial_state=translation.initial_state,
        # The rate that torch keeps outside its buffer is the corrected one.
        factors=formulas.velocity_factor(Setting(rate=moving)) if values["momentum"] else {},
        notes=translation.notes,
    )


def _adagrad(values: Values, setting: Setting) -> Translation:
    return formulas.adagrad(values, setting, root=True)


def _adadelta(values: Values, setting: Setting) -> Translation:
    coupled = {**values, "l2": values["weight_decay"], "weight_decay": None}
    return formulas.adadelta(coupled, setting)


def _adamax(values: Values, setting: Setting) -> Translation:
    return formulas.build(
        "Adamax",
        {k: values[k] for k in ("lr", "eps")} | {"betas": (values["beta1"], values["beta2"])},
        "the same formula",
        factors=formulas.weight_factor(values["lr"], values.get("weight_decay") or 0.0, setting),
    )


def _radam(values: Values, _: Setting) -> Translation:
    eps, beta2 = values["eps"], values["beta2"]
    hyperparameters: dict[str, Any] = {"lr": values["lr"]}
    hyperparameters |= {"betas": (values["beta1"], beta2), "eps": eps}
    wrong = ""
    if values["nesterov"]:
        wrong = "torch's RAdam has no Nesterov momentum"
    elif values["threshold"] != 5:
        wrong = "torch's RAdam rectifies from ρ = 5 on, no other threshold can be set"
    if wrong:
        return formulas.build("RAdam", hyperparameters, wrong, exact=False)
    translation = formulas.build(
        "RAdam",
        hyperparameters,
        "torch adds eps to √v before the bias correction, optax after: exact with eps by step",
        schedule={
            "eps": Schedule(f"{eps:g}·√(1 − {beta2:g}^t)", lambda step: eps * math.sqrt(1 - beta2**step))
        },
    )
    return _without_root(translation, values["eps_root"])


OPTAX = dialects.add(
    Dialect(
        name="optax",
        summary="optax (JAX)",
        source="optax/_src/alias.py and transform.py, optax 0.2.8",
        verified="measured",
        optimizers=(
            Written(
                "sgd",
                "v ← μv + g, w ← w − ηv; Nesterov: w ← w − η(g + μv)",
                (STEP, Parameter("momentum", "momentum", None), NESTEROV),
                _sgd,
            ),
            Written(
                "adam",
                "w ← w − η m̂/(√(v̂ + ε_root) + ε)",
                (RATE, *BETAS, EPS, EPS_ROOT, NESTEROV),
                _adam,
            ),
            Written(
                "adamw",
                "w ← w − η(m̂/(√(v̂ + ε_root) + ε) + λw)",
                (RATE, *BETAS, EPS, EPS_ROOT, DECAY, NESTEROV),
                _adam,
            ),
            Written(
                "nadam",
                "adam with nesterov",
                (RATE, *BETAS, EPS, EPS_ROOT, Parameter("nesterov", "nesterov", default=True)),
                _adam,
            ),
            Written(
                "nadamw",
                "adamw with nesterov",
                (
                    RATE,
                    *BETAS,
                    EPS,
                    EPS_ROOT,
                    DECAY,
                    Parameter("nesterov", "nesterov", default=True),
                ),
                _adam,
            ),
            Written("amsgrad", "adam with the largest v̂ so far", (RATE, *BETAS, EPS, EPS_ROOT), _amsgrad),
            Written("adamax", "u ← max(β2 u, |g| + ε), w ← w − η m̂/u", (RATE, *BETAS, EPS), _adamax),
            Written("adamaxw", "w ← w − η(m̂/u + λw)", (RATE, *BETAS, EPS, DECAY), _adamax),
            Written(
                "radam",
                "m̂ alone while ρ < 5, then rectified Adam",
                (RATE, *BETAS, EPS, EPS_ROOT, Parameter("threshold", "threshold", 5.0), NESTEROV),
                _radam,
                unscaled="its first steps (ρ < 5) are not divided by √v, the others are; "
                "no constant lr suits both",
            ),
            Written(
                "rmsprop",
                "v ← δv + (1−δ)g², b ← μb + ηg/√(v + ε), w ← w − b",
                (
                    RATE,
                    Parameter("decay", "alpha", 0.9),
                    Parameter("eps", "eps", 1e-8, lambda values: 2 if values["eps_in_sqrt"] else 1),
                    Parameter("initial_scale", "initial_accumulator_value", 0.0, 2),
                    Parameter("eps_in_sqrt", "eps_in_sqrt", default=True),
                    Parameter("centered", "centered", default=False),
                    Parameter("momentum", "momentum", None),
                    NESTEROV,
                    Parameter("bias_correction", "bias_correction", default=False),
                ),
                _rmsprop,
            ),
            Written(
                "adagrad",
                "a ← a + g², w ← w − ηg/√(a + ε)",
                (
                    RATE,
                    Parameter("initial_accumulator_value", "initial_accumulator_value", 0.1, 2),
                    Parameter("eps", "eps", 1e-7, 2),
                ),
                _adagrad,
            ),
            Written(
                "adadelta",
                "w ← w − η √(u + ε)/√(v + ε) (g + λw)",
                (
                    STEP,
                    Parameter("rho", "alpha", 0.9),
                    Parameter("eps", "eps", 1e-6, 2),
                    Parameter("weight_decay", "weight_decay", 0.0, 1),
                ),
                _adadelta,
            ),
            *(
                Written(name, "see optax")
                for name in (
                    "lion",
                    "lamb",
                    "lars",
                    "fromage",
                    "yogi",
                    "adabelief",
                    "novograd",
                    "sm3",
                )
            ),
        ),
    )
)
