"""Keras 3: rate inside the velocity, ε̂ in Adam, eps inside the root, decoupled decay everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.equivalence.dialects import formulas
from suite.equivalence.dialects.dialect import (
    Dialect,
    Parameter,
    TranslationContext,
    Values,
    Written,
    dialects,
)
from suite.equivalence.dialects.factors import weight_factor

if TYPE_CHECKING:
    from suite.equivalence.dialects.translation import Translation

# Keras multiplies weight_decay by the rate and takes it off the weights, in every optimizer;
# `l2` is the factor of keras.regularizers.L2, l2·Σw² without ½.
_RATE = Parameter("learning_rate", "lr", 0.001)
_DECAY = Parameter("weight_decay", "weight_decay", None)
_L2 = Parameter("l2", "l2", 0.0, 1)
_BETAS = (Parameter("beta_1", "beta1", 0.9), Parameter("beta_2", "beta2", 0.999))
_EPS = Parameter("epsilon", "eps", 1e-7, 1)
ROOT_EPS = Parameter("epsilon", "eps", 1e-7, 2)
ADAMAX_REASON = (
    "Keras adds eps to the running maximum, u + ε; torch to each |g| before the maximum; "
    "they differ by at most ε in the denominator, and not at all for eps = 0"
)


def _penalty(values: Values) -> Values:
    """`l2·Σw²` has the gradient `2·l2·w`: torch's weight_decay is twice as large."""
    return {**values, "l2": 2 * values["l2"]}


def _sgd(values: Values, context: TranslationContext) -> Translation:
    return formulas.sgd(_penalty(values), context, inside=True)


def _adam(values: Values, _: TranslationContext) -> Translation:
    return formulas.adam(_penalty(values), hat=True)


def _rmsprop(values: Values, context: TranslationContext) -> Translation:
    return formulas.rmsprop(_penalty(values), context)


def _adagrad(values: Values, context: TranslationContext) -> Translation:
    return formulas.adagrad(_penalty(values), context, root=True)


def _adadelta(values: Values, context: TranslationContext) -> Translation:
    return formulas.adadelta(_penalty(values), context)


def _adamax(values: Values, context: TranslationContext) -> Translation:
    decay = values["weight_decay"] or 0.0
    return formulas.build(
        "Adamax",
        {
            "lr": values["lr"],
            "betas": (values["beta1"], values["beta2"]),
            "eps": values["eps"],
            "weight_decay": 2 * values["l2"],
        },
        ADAMAX_REASON if values["eps"] else "the same formula",
        exact=not values["eps"] and not (decay and values["l2"]),
        factors=weight_factor(values["lr"], decay, context),
    )


def _nadam(values: Values, _: TranslationContext) -> Translation:
    decay, penalty = values["weight_decay"] or 0.0, 2 * values["l2"]
    return formulas.build(
        "NAdam",
        {
            "lr": values["lr"],
            "betas": (values["beta1"], values["beta2"]),
            "eps": values["eps"],
            "momentum_decay": 1.0,
            "weight_decay": decay or penalty,
            "decoupled_weight_decay": decay > 0,
        },
        formulas.BOTH_DECAYS
        if decay and penalty
        else "β1(1 − ½·0.96^t) in Keras is torch's with momentum_decay = 1, not its default 0.004",
        exact=not (decay and penalty),
        notes=(formulas.PRODUCT,),
    )


KERAS = dialects.add(
    Dialect(
        name="keras",
        summary="Keras 3 (keras.optimizers)",
        source="keras/src/optimizers, Keras 3.15.1",
        verified="measured",
        optimizers=(
            Written(
                "SGD",
                "v ← μv − ηg, w ← w + v; Nesterov: w ← w + μv − ηg",
                (
                    Parameter("learning_rate", "lr", 0.01, -1),
                    Parameter("momentum", "momentum", 0.0),
                    Parameter("nesterov", "nesterov", default=False),
                    Parameter("weight_decay", "weight_decay", None, 1),
                    _L2,
                ),
                _sgd,
            ),
            Written(
                "Adam",
                "w ← w − η (√(1−β2^t)/(1−β1^t)) m/(√v + ε̂)",
                (_RATE, *_BETAS, _EPS, Parameter("amsgrad", "amsgrad", default=False), _DECAY, _L2),
                _adam,
            ),
            Written(
                "AdamW",
                "w ← w − ηλw, then Adam's step",
                (
                    _RATE,
                    *_BETAS,
                    _EPS,
                    Parameter("amsgrad", "amsgrad", default=False),
                    Parameter("weight_decay", "weight_decay", 0.004),
                    _L2,
                ),
                _adam,
            ),
            Written(
                "Nadam",
                "Adam with Nesterov's look-ahead, momentum β1(1 − ½·0.96^t)",
                (_RATE, *_BETAS, _EPS, _DECAY, _L2),
                _nadam,
            ),
            Written(
                "Adamax",
                "u ← max(β2 u, |g|), w ← w − η/(1−β1^t) · m/(u + ε)",
                (_RATE, *_BETAS, _EPS, _DECAY, _L2),
                _adamax,
            ),
            Written(
                "RMSprop",
                "v ← ρv + (1−ρ)g², b ← μb + ηg/√(v + ε), w ← w − b",
                (
                    _RATE,
                    Parameter("rho", "alpha", 0.9),
                    Parameter("momentum", "momentum", 0.0),
                    ROOT_EPS,
                    Parameter("centered", "centered", default=False),
                    _DECAY,
                    _L2,
                ),
                _rmsprop,
            ),
            Written(
                "Adagrad",
                "a ← a + g², w ← w − ηg/√(a + ε)",
                (
                    _RATE,
                    Parameter("initial_accumulator_value", "initial_accumulator_value", 0.1, 2),
                    ROOT_EPS,
                    _DECAY,
                    _L2,
                ),
                _adagrad,
            ),
            Written(
                "Adadelta",
                "w ← w − η √(u + ε)/√(v + ε) g",
                (
                    Parameter("learning_rate", "lr", 0.001, -1),
                    Parameter("rho", "alpha", 0.95),
                    ROOT_EPS,
                    Parameter("weight_decay", "weight_decay", None, 1),
                    _L2,
                ),
                _adadelta,
            ),
            Written("Ftrl", "follow the regularised leader"),
            Written("Lion", "w ← w − η sign(β1 m + (1−β1) g)"),
            Written("Lamb", "Adam's direction, its length layer by layer"),
            Written(
                "Adafactor",
                "factored second moments",
                missing="Keras's and torch's Adafactor clip and decay differently; not worked out",
            ),
        ),
    )
)
