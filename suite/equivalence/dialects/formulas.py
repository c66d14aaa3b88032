"""The formulas that dialects share, each with what becomes of it in `torch.optim`.

Notation: `g` gradient, `w` weights, `v` velocity or second moment, `η` learning rate, `λ` weight
decay, `t` the step, counted from 1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from suite.equivalence.dialects.factors import velocity_factor, weight_factor
from suite.equivalence.dialects.translation import Schedule, Translation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from suite.equivalence.dialects.dialect import TranslationContext, Values

# torch's own defaults that a line to paste need not repeat.
SILENT: Mapping[str, Any] = {
    "momentum": 0.0,
    "nesterov": False,
    "centered": False,
    "amsgrad": False,
    "decoupled_weight_decay": False,
}

ROOT = (
    "eps stands inside the root, √(v + ε), where torch has √v + eps; no constant does that. "
    "The nearest is eps = √ε: equal where v is far below or far above ε, and torch's step is "
    "at most 29.3 % shorter between (at v = ε)"
)
BOTH_DECAYS = (
    "a penalty and a decoupled decay together: torch has one weight_decay; "
    "add the penalty to the loss instead"
)

PRODUCT = "torch keeps NAdam's product of momenta in the default dtype: in float32 some 1e-7 is lost"


def build(
    optimizer: str,
    hyperparameters: Values,
    reason: str,
    *,
    exact: bool = True,
    schedule: Mapping[str, Schedule] | None = None,
    initial_state: Mapping[str, float] | None = None,
    factors: Mapping[str, Schedule] | None = None,
    notes: tuple[str, ...] = (),
) -> Translation:
    """A translation whose dialect and name are filled in later, without torch's silent defaults."""
    spoken = {k: v for k, v in hyperparameters.items() if k not in SILENT or v != SILENT[k]}
    if not optimizer.endswith("W") and not spoken.get("weight_decay", 1.0):
        del spoken["weight_decay"]
    return Translation(
        dialect="",
        written="",
        optimizer=optimizer,
        hyperparameters=spoken,
        exact=exact,
        reason=reason,
        schedule=dict(schedule or {}),
        initial_state=dict(initial_state or {}),
        factors=dict(factors or {}),
        notes=notes,
    )


def sgd(values: Values, context: TranslationContext, *, inside: bool) -> Translation:
    """`v ← μv + g, w ← w − ηv`; `inside` for `v ← μv + ηg, w ← w − v`, the same at a constant rate.

    A Nesterov step takes `g + μv` (inside: `ηg + μv`) instead of `v`, in all dialects here.
    """
    momentum = values.get("momentum") or 0.0
    decoupled, penalty = values.get("weight_decay") or 0.0, values.get("l2") or 0.0
    plain = momentum == 0 and not penalty
    factors = {} if plain else weight_factor(values["lr"], decoupled, context)
    reason = "the same formula"
    notes: tuple[str, ...] = ()
    if momentum and inside:
        factors |= velocity_factor(context)
        reason = "the rate stands inside the velocity: the same steps while the rate is constant"
        if context.rate is not None:
            reason = "the rate stands inside the velocity: exact with the factor of the buffer"
        notes = ("when lr changes, multiply torch's momentum_buffer by old lr / new lr once",)
    if decoupled and penalty:
        reason = BOTH_DECAYS
    return build(
        "SGD",
        {
            "lr": values["lr"],
            "momentum": momentum,
            "nesterov": bool(values.get("nesterov")) and momentum > 0,
            "weight_decay": decoupled if plain else penalty,
        },
        reason,
        exact=not (decoupled and penalty),
        factors=factors,
        notes=notes,
    )


def eps_hat(eps: float, beta2: float) -> dict[str, Schedule]:
    """The eps of each step, `ε̂/√(1 − β2^t)`, for `√v + ε̂` with the bias correction in the rate."""
    if not eps:
        return {}
    formula = f"{eps:g}/√(1 − {beta2:g}^t)"
    return {"eps": Schedule(formula, lambda step: eps / math.sqrt(1 - beta2**step))}


def adam(values: Values, *, hat: bool) -> Translation:
    """`w ← w − η m̂/(√v̂ + ε)`; `hat` for `w ← w − η(√c₂/c₁) m/(√v + ε̂)`, `c = 1 − β^t`.

    References:
        Kingma & Ba 2015, arXiv 1412.6980: Algorithm 1, and the last lines of section 2 for `ε̂`.
    """
    decoupled, penalty = values.get("weight_decay") or 0.0, values.get("l2") or 0.0
    schedule = eps_hat(values["eps"], values["beta2"]) if hat else {}
    reason = "the same formula"
    notes: tuple[str, ...] = ()
    if schedule:
        first = schedule["eps"](1) / values["eps"]
        reason = "eps is ε̂, added to √v before the bias correction: exact with eps set at each step"
        notes = (f"a constant eps is right only for t → ∞; at t = 1 it is {first:.3g} times too small",)
    if decoupled and penalty:
        reason = BOTH_DECAYS
    return build(
        "AdamW" if decoupled else "Adam",
        {
            "lr": values["lr"],
            "betas": (values["beta1"], values["beta2"]),
            "eps": values["eps"],
            "weight_decay": decoupled or penalty,
            "amsgrad": bool(values.get("amsgrad")),
        },
        reason,
        exact=not (decoupled and penalty),
        schedule=schedule,
        notes=notes,
    )


def rmsprop(values: Values, context: TranslationContext, *, root: bool = True) -> Translation:
    """`v ← αv + (1−α)g²`, step `η g/√(v + ε)` (`root`) or `η g/(√v + ε)`.

    Steps add up in a velocity that holds η. `centered` takes `v − (mean of g)²` for `v`;
    `initial_accumulator_value` is what `v` starts with.
    """
    eps, momentum = values["eps"], values.get("momentum") or 0.0
    decoupled, penalty = values.get("weight_decay") or 0.0, values.get("l2") or 0.0
    factors = weight_factor(values["lr"], decoupled, context)
    if momentum:
        factors |= velocity_factor(context)
    initial = values.get("initial_accumulator_value") or 0.0
    exact = not (root and eps) and not (decoupled and penalty)
    reason = BOTH_DECAYS if decoupled and penalty else "the same formula"
    if root and eps:
        reason = ROOT
    return build(
        "RMSprop",
        {
            "lr": values["lr"],
            "alpha": values["alpha"],
            "eps": math.sqrt(eps) if root else eps,
            "momentum": momentum,
            "centered": bool(values.get("centered")),
            "weight_decay": penalty,
        },
        reason,
        exact=exact,
        initial_state={"square_avg": initial} if initial else {},
        factors=factors,
        notes=("with eps = 0 it would be exact",) if root and eps else (),
    )


def adagrad(values: Values, context: TranslationContext, *, root: bool) -> Translation:
    """`a ← a + g²`, step `η g/√(a + ε)` (`root`) or `η g/(√a + ε)`.

    `a` only grows, so an eps inside the root is part of what `a` starts with.
    """
    eps, start = values.get("eps") or 0.0, values.get("initial_accumulator_value") or 0.0
    decoupled, penalty = values.get("weight_decay") or 0.0, values.get("l2") or 0.0
    reason = "the same formula"
    if root and eps:
        reason = "eps inside the root adds to the accumulator's start, once and for all"
    if decoupled and penalty:
        reason = BOTH_DECAYS
    return build(
        "Adagrad",
        {
            "lr": values["lr"],
            "initial_accumulator_value": start + eps if root else start,
            "eps": 0.0 if root else eps,
            "weight_decay": penalty,
        },
        reason,
        exact=not (decoupled and penalty),
        factors=weight_factor(values["lr"], decoupled, context),
    )


def adadelta(values: Values, context: TranslationContext) -> Translation:
    """`w ← w − η √(u + ε)/√(v + ε) g`, as in torch."""
    decoupled, penalty = values.get("weight_decay") or 0.0, values.get("l2") or 0.0
    return build(
        "Adadelta",
        {"lr": values["lr"], "rho": values["alpha"], "eps": values["eps"], "weight_decay": penalty},
        BOTH_DECAYS if decoupled and penalty else "the same formula",
        exact=not (decoupled and penalty),
        factors=weight_factor(values["lr"], decoupled, context),
    )
