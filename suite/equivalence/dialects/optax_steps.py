"""What optax's steps are in PyTorch; `optax` is the table of its optimizers."""

from __future__ import annotations

import math
from typing import Any

from suite.equivalence.dialects import formulas
from suite.equivalence.dialects.dialect import TranslationContext, Values
from suite.equivalence.dialects.factors import velocity_factor, weight_factor
from suite.equivalence.dialects.translation import Schedule, Translation

LOOK_AHEAD = 1e5
"""The momentum_decay at which 0.96^(t·momentum_decay) is 0 in float64: momentum β1 at each step."""


def optax_sgd(values: Values, context: TranslationContext) -> Translation:
    """`v ← μv + g, w ← w − ηv`, as in torch."""
    return formulas.sgd(values, context, inside=False)


def optax_adam(values: Values, _: TranslationContext) -> Translation:
    """`w ← w − η(m̂/(√(v̂ + ε_root) + ε) + λw)`; with `nesterov`, m̂ looks one step ahead."""
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


def optax_amsgrad(values: Values, _: TranslationContext) -> Translation:
    """`w ← w − η m̂/(√max v̂ + ε)`, the maximum over all steps so far."""
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


def optax_rmsprop(values: Values, context: TranslationContext) -> Translation:
    """`b ← μb + ηg/√(v + ε), w ← w − b`, with more options than torch has."""
    root = values["eps_in_sqrt"]
    values = {**values, "momentum": values["momentum"] or 0.0}
    translation = formulas.rmsprop(values, context, root=root)
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
    return _corrected(translation, values, context) if values["bias_correction"] else translation


def _corrected(translation: Translation, values: Values, context: TranslationContext) -> Translation:
    """`g/(√(v/c) + ε) = √c · g/(√v + √c ε)`, `c = 1 − α^t`: the correction moves to lr and eps."""
    alpha, lr = values["alpha"], values["lr"]
    eps = translation.hyperparameters["eps"]
    rate = context.rate or Schedule(f"{lr:g}", lambda _: lr)

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
        factors=velocity_factor(TranslationContext(rate=moving)) if values["momentum"] else {},
        notes=translation.notes,
    )


def optax_adagrad(values: Values, context: TranslationContext) -> Translation:
    """`a ← a + g², w ← w − ηg/√(a + ε)`."""
    return formulas.adagrad(values, context, root=True)


def optax_adadelta(values: Values, context: TranslationContext) -> Translation:
    """`w ← w − η √(u + ε)/√(v + ε) (g + λw)`, as in torch."""
    coupled = {**values, "l2": values["weight_decay"], "weight_decay": None}
    return formulas.adadelta(coupled, context)


def optax_adamax(values: Values, context: TranslationContext) -> Translation:
    """`u ← max(β2 u, |g| + ε), w ← w − η(m̂/u + λw)`, but for the decay as in torch."""
    return formulas.build(
        "Adamax",
        {k: values[k] for k in ("lr", "eps")} | {"betas": (values["beta1"], values["beta2"])},
        "the same formula",
        factors=weight_factor(values["lr"], values.get("weight_decay") or 0.0, context),
    )


def optax_radam(values: Values, _: TranslationContext) -> Translation:
    """`w ← w − η m̂` while ρ < 5, then `w ← w − η r m̂/(√v̂ + ε)`."""
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
