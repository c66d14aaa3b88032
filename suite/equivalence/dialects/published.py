"""Updates that one paper has of its own: AdamW's λ, BERT's Adam, DeepMind's RMSProp, GloVe's AdaGrad."""

from __future__ import annotations

import math
from typing import Any

from suite.equivalence.dialects import formulas
from suite.equivalence.dialects.dialect import (
    Dialect,
    Parameter,
    TranslationContext,
    Values,
    Written,
    dialects,
)
from suite.equivalence.dialects.translation import PARAM, Schedule, Translation

_BETAS = (Parameter("beta1", "beta1", 0.9), Parameter("beta2", "beta2", 0.999))


def _adamw(values: Values, _: TranslationContext) -> Translation:
    """`w ← w − η_t(α m̂/(√v̂ + ε) + λw)`: torch multiplies λ by its whole rate `η_t α`."""
    decay = values["weight_decay"]
    return formulas.build(
        "AdamW",
        {
            "lr": values["lr"],
            "betas": (values["beta1"], values["beta2"]),
            "eps": values["eps"],
            "weight_decay": decay / values["lr"] if decay else 0.0,
        },
        "torch multiplies λ by lr, the paper by the schedule multiplier only: weight_decay = λ/α",
        notes=("a schedule multiplier η_t goes into lr = η_t·α alone; weight_decay stays λ/α",),
    )


def _sgdw(values: Values, context: TranslationContext) -> Translation:
    """`v ← μv + αg, w ← w − v − λw`: the decay stands outside the velocity and the rate."""
    decay = values["weight_decay"]
    translation = formulas.sgd({**values, "weight_decay": None}, context, inside=True)
    factors = dict(translation.factors)
    if decay:
        factors[PARAM] = Schedule(f"1 − {decay:g}", lambda _: 1 - decay)
    return formulas.build(
        "SGD",
        translation.hyperparameters,
        "torch's weight_decay enters the momentum, this one does not: exact with the factor",
        factors=factors,
        notes=translation.notes,
    )


def _bert(values: Values, context: TranslationContext) -> Translation:
    """`w ← w − η(m/(√v + ε) + λw)`, no bias correction: torch's is taken back step by step."""
    beta1, beta2, eps = values["beta1"], values["beta2"], values["eps"]
    lr, decay = values["lr"], values["weight_decay"]
    rate = context.rate or Schedule(f"{lr:g}", lambda _: float(lr))

    def correction(step: int) -> float:
        return float((1 - beta1**step) / math.sqrt(1 - beta2**step))

    ratio = f"(1 − {beta1:g}^t)/√(1 − {beta2:g}^t)"
    schedule = {"lr": Schedule(f"{rate.formula}·{ratio}", lambda t: rate(t) * correction(t))}
    schedule |= formulas.eps_hat(eps, beta2)
    if decay:
        schedule["weight_decay"] = Schedule(f"{decay:g}/({ratio})", lambda t: decay / correction(t))
    hyperparameters: dict[str, Any] = {"lr": lr, "betas": (beta1, beta2), "eps": eps}
    return formulas.build(
        "AdamW",
        hyperparameters | {"weight_decay": decay},
        "no bias correction: exact with lr, eps and weight_decay set at each step",
        schedule=schedule,
        notes=(
            f"with constants, right for t → ∞, torch's first step is {1 / correction(1):.3g} times BERT's",
        ),
    )


def _dqn(values: Values, context: TranslationContext) -> Translation:
    return formulas.rmsprop({**values, "centered": True}, context)


def _glove(values: Values, _: TranslationContext) -> Translation:
    """`w ← w − ηg/√a, a ← a + (ηg)²`, a from 1: with a/η² for a, torch's Adagrad but for the order."""
    rate = values["lr"]
    return formulas.build(
        "Adagrad",
        {"lr": 1.0, "initial_accumulator_value": 1 / rate**2 if rate else math.inf, "eps": 0.0},
        "the rate is inside the accumulator: lr = 1 and a start of 1/η²; GloVe divides before it adds the "
        "new square and torch after, whose step is √(1 + (ηg)²/a) times shorter, a being the sum before",
        exact=False,
        notes=("its biases have no rate: lr = 1 and a start of 1 for them",),
    )


ADAMW = dialects.add(
    Dialect(
        name="adamw-paper",
        summary="AdamW and SGDW as Loshchilov & Hutter print them",
        source="Loshchilov & Hutter 2019, arXiv 1711.05101, Algorithms 1 and 2",
        verified="third party",
        optimizers=(
            Written(
                "AdamW",
                "w ← w − η_t(α m̂/(√v̂ + ε) + λw)",
                (
                    Parameter("lr", "lr", 0.001),
                    *_BETAS,
                    Parameter("eps", "eps", 1e-8, 1),
                    Parameter("weight_decay", "weight_decay"),
                ),
                _adamw,
            ),
            Written(
                "SGDW",
                "v ← μv + η_t α g, w ← w − v − η_t λw",
                (
                    Parameter("lr", "lr", exponent=-1),
                    Parameter("momentum", "momentum"),
                    Parameter("weight_decay", "weight_decay"),
                ),
                _sgdw,
            ),
        ),
    )
)

BERT = dialects.add(
    Dialect(
        name="bert",
        summary="BERT's AdamWeightDecayOptimizer: Adam without bias correction",
        source="google-research/bert, optimization.py, AdamWeightDecayOptimizer.apply_gradients",
        verified="code read",
        optimizers=(
            Written(
                "AdamWeightDecayOptimizer",
                "w ← w − η(m/(√v + ε) + λw)",
                (
                    Parameter("learning_rate", "lr"),
                    Parameter("beta_1", "beta1", 0.9),
                    Parameter("beta_2", "beta2", 0.999),
                    Parameter("epsilon", "eps", 1e-6, 1),
                    Parameter("weight_decay_rate", "weight_decay", 0.0),
                ),
                _bert,
            ),
        ),
    )
)

DQN = dialects.add(
    Dialect(
        name="dqn",
        summary="DeepMind's RMSProp of the DQN: centered, eps inside the root, no momentum",
        source="DeepMind's DQN 3.0 code, dqn/NeuralQLearner.lua, qLearnMinibatch",
        verified="code read",
        optimizers=(
            Written(
                "RMSProp",
                "m ← 0.95m + 0.05g, v ← 0.95v + 0.05g², w ← w − ηg/√(v − m² + 0.01)",
                (
                    Parameter("lr", "lr"),
                    Parameter("alpha", "alpha", 0.95),
                    Parameter("eps", "eps", 0.01, 2),
                    Parameter("weight_cost", "l2", 0.0, 1),
                ),
                _dqn,
            ),
        ),
    )
)

GLOVE = dialects.add(
    Dialect(
        name="glove",
        summary="GloVe's AdaGrad: the rate is inside the accumulator, which starts at 1",
        source="stanfordnlp/GloVe@52f7dbc, src/glove.c, glove_thread and initialize_parameters",
        verified="code read",
        optimizers=(
            Written(
                "AdaGrad",
                "w ← w − ηg/√a, a ← a + (ηg)²",
                (Parameter("eta", "lr", 0.05, -1),),
                _glove,
            ),
        ),
    )
)

SIMCLR = dialects.add(
    Dialect(
        name="simclr",
        summary="SimCLR's LARS",
        source="Chen et al. 2020, arXiv 2002.05709, section 2.2 and the default context of section 3",
        verified="third party",
        optimizers=(
            Written(
                "LARS",
                "each layer's momentum step, as long as a given share of the layer's weights",
                (
                    Parameter("learning_rate", "lr"),
                    Parameter("weight_decay", "l2", 0.0, 1),
                ),
                unscaled="layers see no scale (weight_decay·s), what LARS leaves out takes plain momentum "
                "steps, learning_rate/s: no one rate does both; pytorch_optimizer:LARS has a law",
                missing="torch.optim has no LARS, and a layer-wise rate is no hyperparameter of another",
            ),
        ),
    )
)
