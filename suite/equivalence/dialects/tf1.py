"""TensorFlow 1 (tf.train): ε̂ in Adam; RMSProp's mean square starts at 1, eps inside the root."""

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

if TYPE_CHECKING:
    from suite.equivalence.dialects.translation import Translation

_RATE = Parameter("learning_rate", "lr")
# The factor λ of a penalty λ·tf.nn.l2_loss(w) = λ/2·Σw² in the loss: torch's weight_decay.
_L2 = Parameter("l2", "l2", 0.0, 1)


def _sgd(values: Values, context: TranslationContext) -> Translation:
    return formulas.sgd(values, context, inside=False)


def _adam(values: Values, _: TranslationContext) -> Translation:
    return formulas.adam(values, hat=True)


def _rmsprop(values: Values, context: TranslationContext) -> Translation:
    # The slot "rms" is made of ones and is no option.
    return formulas.rmsprop({**values, "initial_accumulator_value": 1.0}, context)


def _adagrad(values: Values, context: TranslationContext) -> Translation:
    return formulas.adagrad(values, context, root=False)


TF1 = dialects.add(
    Dialect(
        name="tf1",
        summary="TensorFlow 1 (tf.train, now tf.compat.v1.train)",
        source="tensorflow/python/training; tf.raw_ops.ApplyRMSProp, ApplyCenteredRMSProp",
        verified="measured",
        optimizers=(
            Written(
                "GradientDescentOptimizer",
                "w ← w − ηg",
                (Parameter("learning_rate", "lr", exponent=-1), _L2),
                _sgd,
            ),
            Written(
                "MomentumOptimizer",
                "v ← μv + g, w ← w − ηv; Nesterov: w ← w − η(g + μv)",
                (
                    Parameter("learning_rate", "lr", exponent=-1),
                    Parameter("momentum", "momentum"),
                    Parameter("use_nesterov", "nesterov", default=False),
                    _L2,
                ),
                _sgd,
            ),
            Written(
                "AdamOptimizer",
                "w ← w − η (√(1−β2^t)/(1−β1^t)) m/(√v + ε̂)",
                (
                    Parameter("learning_rate", "lr", 0.001),
                    Parameter("beta1", "beta1", 0.9),
                    Parameter("beta2", "beta2", 0.999),
                    Parameter("epsilon", "eps", 1e-8, 1),
                    _L2,
                ),
                _adam,
            ),
            Written(
                "RMSPropOptimizer",
                "v ← ρv + (1−ρ)g² from v = 1, b ← μb + ηg/√(v + ε), w ← w − b",
                (
                    _RATE,
                    Parameter("decay", "alpha", 0.9),
                    Parameter("momentum", "momentum", 0.0),
                    Parameter("epsilon", "eps", 1e-10, 2),
                    Parameter("centered", "centered", default=False),
                    _L2,
                ),
                _rmsprop,
                unscaled="its mean square starts at 1, whatever the scale, and that is no option; "
                "once that start is forgotten, epsilon·s² keeps the steps",
            ),
            Written(
                "AdagradOptimizer",
                "a ← a + g², w ← w − ηg/√a",
                (
                    _RATE,
                    Parameter("initial_accumulator_value", "initial_accumulator_value", 0.1, 2),
                    _L2,
                ),
                _adagrad,
            ),
            Written(
                "AdadeltaOptimizer",
                "w ← w − η √(u + ε)/√(v + ε) g",
                (
                    Parameter("learning_rate", "lr", 0.001, -1),
                    Parameter("rho", "alpha", 0.95),
                    Parameter("epsilon", "eps", 1e-8, 2),
                    _L2,
                ),
                formulas.adadelta,
            ),
            Written("FtrlOptimizer", "follow the regularised leader"),
            Written("ProximalAdagradOptimizer", "Adagrad, then a proximal step"),
        ),
    )
)
