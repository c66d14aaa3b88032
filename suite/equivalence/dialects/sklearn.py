"""scikit-learn: the MLPs' two solvers and plain SGD."""

from __future__ import annotations

from suite.equivalence.dialects import formulas
from suite.equivalence.dialects.dialect import (
    Dialect,
    Parameter,
    TranslationContext,
    Values,
    Written,
    dialects,
)
from suite.equivalence.dialects.translation import Schedule, Translation
from suite.errors import UsageError

ALPHA = Parameter("alpha", "l2", 1e-4, 1)
BIASES = "alpha does not touch the biases: give them a parameter group with weight_decay=0"


def _over_n(values: Values, context: TranslationContext) -> Values:
    """The MLPs divide `alpha` by the number of samples of the batch, together with the data."""
    if not values["l2"]:
        return values
    if context.batch_size is None:
        raise UsageError("scikit-learn's MLP divides alpha by the batch size: give batch_size, or alpha=0")
    return {**values, "l2": values["l2"] / context.batch_size}


def _noted(translation: Translation, values: Values, *, over_n: bool) -> Translation:
    if not values["l2"]:
        return translation
    notes = [*translation.notes, BIASES]
    if over_n:
        notes.append("a last batch of fewer samples has a larger alpha/n in scikit-learn")
    return formulas.build(
        translation.optimizer,
        translation.hyperparameters,
        translation.reason,
        exact=translation.exact,
        schedule=translation.schedule,
        factors=translation.factors,
        notes=tuple(notes),
    )


def _mlp_sgd(values: Values, context: TranslationContext) -> Translation:
    translation = formulas.sgd(_over_n(values, context), context, inside=True)
    return _noted(translation, values, over_n=True)


def _mlp_adam(values: Values, context: TranslationContext) -> Translation:
    translation = formulas.adam(_over_n(values, context), hat=True)
    return _noted(translation, values, over_n=True)


def _sgd(values: Values, context: TranslationContext) -> Translation:
    power, first = values["power_t"], values["lr"]
    translation = formulas.sgd(values, context, inside=False)
    if power and context.rate is None:
        rate = Schedule(f"{first:g}/t^{power:g}", lambda step: first / step**power)
        reason = "the same formula, with a rate that falls from sample to sample"
        translation = formulas.build("SGD", translation.hyperparameters, reason, schedule={"lr": rate})
    return _noted(translation, values, over_n=False)


def _linear(name: str, eta0: float, power_t: float) -> Written:
    return Written(
        name,
        "one sample a step: w ← (1 − ηα)w − η ∂ℓ/∂w, η = eta0/t^power_t",
        (
            Parameter("eta0", "lr", eta0, -1),
            Parameter("power_t", "power_t", power_t),
            Parameter("alpha", "l2", 1e-4, 1),
        ),
        _sgd,
    )


SKLEARN = dialects.add(
    Dialect(
        name="sklearn",
        summary="scikit-learn: MLPClassifier/MLPRegressor solvers `sgd` and `adam`, SGDRegressor",
        source="sklearn/neural_network/_stochastic_optimizers.py, _multilayer_perceptron.py; "
        "sklearn/linear_model/_sgd_fast.pyx.tp; scikit-learn 1.9.1",
        verified="measured",
        optimizers=(
            Written(
                "sgd",
                "v ← μv − η(g + αw/n), w ← w + v; Nesterov: w ← w + μv − ηg",
                (
                    Parameter("learning_rate_init", "lr", 0.001, -1),
                    Parameter("momentum", "momentum", 0.9),
                    Parameter("nesterovs_momentum", "nesterov", default=True),
                    ALPHA,
                ),
                _mlp_sgd,
            ),
            Written(
                "adam",
                "w ← w − η (√(1−β2^t)/(1−β1^t)) m/(√v + ε̂), g with αw/n",
                (
                    Parameter("learning_rate_init", "lr", 0.001),
                    Parameter("beta_1", "beta1", 0.9),
                    Parameter("beta_2", "beta2", 0.999),
                    Parameter("epsilon", "eps", 1e-8, 1),
                    ALPHA,
                ),
                _mlp_adam,
            ),
            _linear("SGDRegressor", 0.01, 0.25),
            Written("lbfgs", "SciPy's L-BFGS-B", missing="SciPy's line search is not torch's"),
        ),
    )
)
