"""optax: PyTorch's formulas for momentum and Adam, its own for RMSprop, Adagrad and AMSGrad."""

from __future__ import annotations

from suite.equivalence.dialects import optax_steps as steps
from suite.equivalence.dialects.dialect import Dialect, Parameter, Written, dialects

_RATE = Parameter("learning_rate", "lr")
_STEP = Parameter("learning_rate", "lr", exponent=-1)
_BETAS = (Parameter("b1", "beta1", 0.9), Parameter("b2", "beta2", 0.999))
_EPS = Parameter("eps", "eps", 1e-8, 1)
_EPS_ROOT = Parameter("eps_root", "eps_root", 0.0, 2)
_DECAY = Parameter("weight_decay", "weight_decay", 1e-4)
_NESTEROV = Parameter("nesterov", "nesterov", default=False)
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
                (_STEP, Parameter("momentum", "momentum", None), _NESTEROV),
                steps.optax_sgd,
            ),
            Written(
                "adam",
                "w ← w − η m̂/(√(v̂ + ε_root) + ε)",
                (_RATE, *_BETAS, _EPS, _EPS_ROOT, _NESTEROV),
                steps.optax_adam,
            ),
            Written(
                "adamw",
                "w ← w − η(m̂/(√(v̂ + ε_root) + ε) + λw)",
                (_RATE, *_BETAS, _EPS, _EPS_ROOT, _DECAY, _NESTEROV),
                steps.optax_adam,
            ),
            Written(
                "nadam",
                "adam with nesterov",
                (_RATE, *_BETAS, _EPS, _EPS_ROOT, Parameter("nesterov", "nesterov", default=True)),
                steps.optax_adam,
            ),
            Written(
                "nadamw",
                "adamw with nesterov",
                (
                    _RATE,
                    *_BETAS,
                    _EPS,
                    _EPS_ROOT,
                    _DECAY,
                    Parameter("nesterov", "nesterov", default=True),
                ),
                steps.optax_adam,
            ),
            Written(
                "amsgrad",
                "adam with the largest v̂ so far",
                (_RATE, *_BETAS, _EPS, _EPS_ROOT),
                steps.optax_amsgrad,
            ),
            Written(
                "adamax", "u ← max(β2 u, |g| + ε), w ← w − η m̂/u", (_RATE, *_BETAS, _EPS), steps.optax_adamax
            ),
            Written("adamaxw", "w ← w − η(m̂/u + λw)", (_RATE, *_BETAS, _EPS, _DECAY), steps.optax_adamax),
            Written(
                "radam",
                "m̂ alone while ρ < 5, then rectified Adam",
                (_RATE, *_BETAS, _EPS, _EPS_ROOT, Parameter("threshold", "threshold", 5.0), _NESTEROV),
                steps.optax_radam,
                unscaled="its first steps (ρ < 5) are not divided by √v, the others are; "
                "no constant lr suits both",
            ),
            Written(
                "rmsprop",
                "v ← δv + (1−δ)g², b ← μb + ηg/√(v + ε), w ← w − b",
                (
                    _RATE,
                    Parameter("decay", "alpha", 0.9),
                    Parameter("eps", "eps", 1e-8, lambda values: 2 if values["eps_in_sqrt"] else 1),
                    Parameter("initial_scale", "initial_accumulator_value", 0.0, 2),
                    Parameter("eps_in_sqrt", "eps_in_sqrt", default=True),
                    Parameter("centered", "centered", default=False),
                    Parameter("momentum", "momentum", None),
                    _NESTEROV,
                    Parameter("bias_correction", "bias_correction", default=False),
                ),
                steps.optax_rmsprop,
            ),
            Written(
                "adagrad",
                "a ← a + g², w ← w − ηg/√(a + ε)",
                (
                    _RATE,
                    Parameter("initial_accumulator_value", "initial_accumulator_value", 0.1, 2),
                    Parameter("eps", "eps", 1e-7, 2),
                ),
                steps.optax_adagrad,
            ),
            Written(
                "adadelta",
                "w ← w − η √(u + ε)/√(v + ε) (g + λw)",
                (
                    _STEP,
                    Parameter("rho", "alpha", 0.9),
                    Parameter("eps", "eps", 1e-6, 2),
                    Parameter("weight_decay", "weight_decay", 0.0, 1),
                ),
                steps.optax_adadelta,
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
