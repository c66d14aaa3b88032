"""The laws of `torch.optim`: one row an optimizer, read from its single-tensor implementation.

`s` multiplies the gradient. A step that is linear in the gradient needs its rate divided by `s`; one that
divides the gradient by its own magnitude needs nothing, but whatever is added to that magnitude (eps)
or to the gradient (coupled weight decay) must keep pace with it. Defaults are those of torch 2.13.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from suite.equivalence import caveats
from suite.equivalence.law import LAWS, Entry, Law, law

__all__ = ["LAWS", "RADAM_UNRECTIFIED", "law"]

OPTION = "an option"
RATIO = "a decay factor: dimensionless"
FREE = "the step is the gradient divided by its own magnitude: the scale cancels"
LINEAR = "the step is linear in the gradient"
ADDED_TO_ROOT = "added to the root of the squared gradients"
COUPLED = "weight_decay · weights is added to the gradient"
DECOUPLED = "decoupled: multiplies the weights, not the gradient"


def options(**defaults: Any) -> dict[str, Entry]:
    """Entries of hyperparameters that are options, with their defaults: no scale changes them."""
    return {name: Entry(default, 0, OPTION) for name, default in defaults.items()}


def _add(
    name: str,
    hyperparameters: Mapping[str, Entry],
    state: Mapping[str, int],
    source: str,
    **rest: Any,
) -> Law:
    return LAWS.add(Law(name, hyperparameters, state, f"torch/optim/{source}.py", **rest))


_IMPLEMENTATION = options(foreach=None, maximize=False, differentiable=False)
_CAPTURABLE = options(capturable=False)
_FUSED = options(fused=None)
_BETAS = Entry((0.9, 0.999), 0, RATIO)
_EPS = Entry(1e-8, 1, ADDED_TO_ROOT)
_L2 = Entry(0, 1, COUPLED)
_L2_UNLESS_DECOUPLED = Entry(0, 1, COUPLED, flag="decoupled_weight_decay")
_MOMENTS = {"step": 0, "exp_avg": 1, "exp_avg_sq": 2}


_add(
    "Adadelta",
    {
        "lr": Entry(1.0, -1, "eps is in both roots: with it the whole step goes with s"),
        "rho": Entry(0.9, 0, RATIO),
        "eps": Entry(1e-6, 2, "inside the root, beside the squared gradients"),
        "weight_decay": _L2,
        **_IMPLEMENTATION,
        **_CAPTURABLE,
    },
    {"step": 0, "square_avg": 2, "acc_delta": 2},
    "adadelta",
)


_add(
    "Adafactor",
    {
        "lr": Entry(1e-2, 0, FREE),
        "beta2_decay": Entry(-0.8, 0, RATIO),
        "eps": Entry(
            (None, 1e-3),
            (1, 0),
            "eps1 bounds the root of the second moment, eps2 the weights",
            implied=(caveats.FLOAT32_EPS, 1e-3),
        ),
        "d": Entry(1.0, 0, "bounds the update after the scale has cancelled"),
        "weight_decay": Entry(0.0, 0, DECOUPLED),
        **options(foreach=None, maximize=False),
    },
    {"step": 0, "row_var": 2, "col_var": 2, "variance": 2},
    "_adafactor",
    limits="no constant law for matrices whose mean squared gradient falls below eps1, which bounds both "
    "a first and a second power of the gradient; nearest: eps1 +1, exact while it does not, "
    "and always for vectors or eps1 = 0",
    caveat=caveats.adafactor,
)

_add(
    "Adagrad",
    {
        "lr": Entry(1e-2, 0, FREE),
        "lr_decay": Entry(0, 0, RATIO),
        "weight_decay": _L2,
        "initial_accumulator_value": Entry(0, 2, "the sum of squared gradients begins there"),
        "eps": Entry(1e-10, 1, ADDED_TO_ROOT),
        **_IMPLEMENTATION,
        **_FUSED,
    },
    {"step": 0, "sum": 2},
    "adagrad",
)

_add(
    "Adam",
    {
        "lr": Entry(1e-3, 0, FREE),
        "betas": _BETAS,
        "eps": _EPS,
        "weight_decay": _L2_UNLESS_DECOUPLED,
        **options(amsgrad=False, decoupled_weight_decay=False),
        **_IMPLEMENTATION,
        **_CAPTURABLE,
        **_FUSED,
    },
    _MOMENTS | {"max_exp_avg_sq": 2},
    "adam",
)

_add(
    "AdamW",
    {
        "lr": Entry(1e-3, 0, FREE),
        "betas": _BETAS,
        "eps": _EPS,
        "weight_decay": Entry(1e-2, 0, DECOUPLED),
        **options(amsgrad=False),
        **_IMPLEMENTATION,
        **_CAPTURABLE,
        **_FUSED,
    },
    _MOMENTS | {"max_exp_avg_sq": 2},
    "adamw",
)

_add(
    "Adamax",
    {
        "lr": Entry(2e-3, 0, FREE),
        "betas": _BETAS,
        "eps": Entry(1e-8, 1, "added to the magnitude of the gradient"),
        "weight_decay": _L2,
        **_IMPLEMENTATION,
        **_CAPTURABLE,
    },
    {"step": 0, "exp_avg": 1, "exp_inf": 1},
    "adamax",
)

_add(
    "ASGD",
    {
        "lr": Entry(1e-2, -1, LINEAR),
        "lambd": Entry(1e-4, 1, "only lambd · lr enters, in the decay of weights and of the rate"),
        "alpha": Entry(0.75, 0, "a power of lambd · lr · step, which does not change"),
        "t0": Entry(1e6, 0, "counts steps"),
        "weight_decay": _L2,
        **_IMPLEMENTATION,
        **_CAPTURABLE,
    },
    {"step": 0, "eta": -1, "mu": 0, "ax": 0},
    "asgd",
)


_add(
    "LBFGS",
    {
        "lr": Entry(1, 0, "the inverse Hessian takes the scale out, from the second iteration on"),
        "max_iter": Entry(20, 0, "counts iterations"),
        "max_eval": Entry(None, 0, "counts evaluations"),
        "tolerance_grad": Entry(1e-7, 1, "compared with the gradient"),
        "tolerance_change": Entry(1e-9, 1, "compared with the loss and, though, with the step"),
        "history_size": Entry(100, 0, "counts curvature pairs"),
        **options(line_search_fn=None),
    },
    {
        "func_evals": 0,
        "n_iter": 0,
        "d": 0,
        "t": 0,
        "old_dirs": 1,
        "old_stps": 0,
        "ro": -1,
        "H_diag": -1,
        "prev_flat_grad": 1,
        "prev_loss": 1,
        "al": 0,
    },
    "lbfgs",
    limits="no constant law: the first step, lr · min(1, 1/‖g‖₁) · g, changes its exponent at ‖g‖₁ = 1, "
    "tolerance_change bounds quantities of exponents 0 and +1, and curvature below 1e-10 is dropped; "
    "nearest: tolerance_grad +1, tolerance_change = 0, exact while ‖g‖₁ ≥ 1 at first on both sides",
    caveat=caveats.lbfgs,
)


_add(
    "Muon",
    {
        "lr": Entry(1e-3, 0, "the update is orthogonalised: the scale cancels"),
        "weight_decay": Entry(0.1, 0, DECOUPLED),
        "momentum": Entry(0.95, 0, RATIO),
        "nesterov": Entry(True, 0, OPTION),  # noqa: FBT003  a default, not an argument
        "ns_coefficients": Entry((3.4445, -4.775, 2.0315), 0, "act on the normalised update"),
        "eps": Entry(1e-7, 1, "bounds the norm of the update from below"),
        "ns_steps": Entry(5, 0, "counts iterations"),
        **options(adjust_lr_fn=None),
    },
    {"momentum_buffer": 1},
    "_muon",
    limits="exact for powers of two only: Newton–Schulz runs in bfloat16, and rounds differently for other "
    "scales; nearest: the same exponents, right to that rounding",
    caveat=caveats.muon,
)

_add(
    "NAdam",
    {
        "lr": Entry(2e-3, 0, FREE),
        "betas": _BETAS,
        "eps": _EPS,
        "weight_decay": _L2_UNLESS_DECOUPLED,
        "momentum_decay": Entry(4e-3, 0, RATIO),
        **options(decoupled_weight_decay=False),
        **_IMPLEMENTATION,
        **_CAPTURABLE,
    },
    _MOMENTS | {"mu_product": 0},
    "nadam",
)


_RADAM = {**options(decoupled_weight_decay=False), **_IMPLEMENTATION, **_CAPTURABLE}

RADAM_UNRECTIFIED = Law(
    "RAdam",
    {
        "lr": Entry(1e-3, -1, "an unrectified step is the mean gradient, linear in it"),
        "betas": _BETAS,
        "eps": Entry(1e-8, 1, "added to the root of the squared gradients, which these steps leave out"),
        "weight_decay": Entry(0, 1, "added to the gradient, or multiplied by a rate that goes with −1"),
        **_RADAM,
    },
    _MOMENTS,
    "torch/optim/radam.py",
)
"""The law of RAdam's first steps, in which it is SGD with momentum; of all its steps where β₂ ≤ 2/3."""

_add(
    "RAdam",
    {
        "lr": Entry(1e-3, 0, FREE),
        "betas": _BETAS,
        "eps": _EPS,
        "weight_decay": _L2_UNLESS_DECOUPLED,
        **_RADAM,
    },
    _MOMENTS,
    "radam",
    limits="no constant law: the first steps (5 for β₂ = 0.999; always at least one) are not rectified and "
    "linear in the gradient, lr −1; nearest: that rate for those steps and then this row, which is exact",
    warm_up=lambda settings: (caveats.unrectified_steps(float(settings["betas"][1])), RADAM_UNRECTIFIED),
)

_add(
    "RMSprop",
    {
        "lr": Entry(1e-2, 0, FREE),
        "alpha": Entry(0.99, 0, RATIO),
        "eps": _EPS,
        "weight_decay": _L2,
        "momentum": Entry(0, 0, RATIO),
        **options(centered=False),
        **_IMPLEMENTATION,
        **_CAPTURABLE,
    },
    {"step": 0, "square_avg": 2, "grad_avg": 1, "momentum_buffer": 0},
    "rmsprop",
)

_add(
    "Rprop",
    {
        "lr": Entry(1e-2, 0, "only the sign of the gradient enters"),
        "etas": Entry((0.5, 1.2), 0, "factors of the step size"),
        "step_sizes": Entry((1e-6, 50), 0, "bounds of the step, not of the gradient"),
        **_IMPLEMENTATION,
        **_CAPTURABLE,
    },
    {"step": 0, "prev": 1, "step_size": 0},
    "rprop",
)

_add(
    "SGD",
    {
        "lr": Entry(1e-3, -1, LINEAR),
        "momentum": Entry(0, 0, RATIO),
        "dampening": Entry(0, 0, RATIO),
        "weight_decay": _L2,
        **options(nesterov=False),
        **_IMPLEMENTATION,
        **_FUSED,
    },
    {"momentum_buffer": 1},
    "sgd",
)

_add(
    "SparseAdam",
    {
        "lr": Entry(1e-3, 0, FREE),
        "betas": _BETAS,
        "eps": _EPS,
        **options(maximize=False),
    },
    _MOMENTS,
    "sparse_adam",
)
