"""Optimizers of `torch.optim` with options, under which their laws of scale are exact."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from hypothesis import strategies as st

from suite.errors import unknown

_FLAGS = st.booleans()
_FOREACH = st.sampled_from([None, False, True])
_DECAY = st.sampled_from([0, 0.01, 0.3])
_BETAS = st.tuples(st.sampled_from([0.0, 0.5, 0.9]), st.sampled_from([0.8, 0.95, 0.999]))
_EPS = st.sampled_from([1e-8, 1e-3, 0.1])
_COMMON = {"foreach": _FOREACH, "maximize": _FLAGS}
_FUSED = ("Adagrad", "Adam", "AdamW", "SGD")


def rate(low: float, high: float) -> st.SearchStrategy[float]:
    """A number between two bounds."""
    return st.floats(low, high, allow_subnormal=False)


# For each optimizer the settings under which its law is exact, over all its options.
SETTINGS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "Adadelta": {
        "lr": rate(0.01, 0.3),
        "rho": rate(0.8, 0.99),
        "eps": _EPS,
        "weight_decay": _DECAY,
        **_COMMON,
    },
    "Adafactor": {
        "lr": rate(1e-3, 0.1),
        "beta2_decay": rate(-0.9, -0.5),
        "d": rate(1, 2),
        "eps": st.tuples(st.sampled_from([0.0, 1e-12]), rate(1e-4, 1e-2)),
        "weight_decay": _DECAY,
        **_COMMON,
    },
    "Adagrad": {
        "lr": rate(1e-3, 0.1),
        "lr_decay": rate(0, 0.1),
        "weight_decay": _DECAY,
        "initial_accumulator_value": st.sampled_from([0, 0.1, 2.0]),
        "eps": _EPS,
        **_COMMON,
    },
    "Adam": {
        "lr": rate(1e-3, 0.05),
        "betas": _BETAS,
        "eps": _EPS,
        "weight_decay": _DECAY,
        "amsgrad": _FLAGS,
        "decoupled_weight_decay": _FLAGS,
        **_COMMON,
    },
    "AdamW": {
        "lr": rate(1e-3, 0.05),
        "betas": _BETAS,
        "eps": _EPS,
        "weight_decay": _DECAY,
        "amsgrad": _FLAGS,
        **_COMMON,
    },
    "Adamax": {
        "lr": rate(1e-3, 0.05),
        "betas": _BETAS,
        "eps": _EPS,
        "weight_decay": _DECAY,
        **_COMMON,
    },
    "ASGD": {
        "lr": rate(1e-3, 0.05),
        "lambd": rate(0, 0.1),
        "alpha": rate(0.5, 1),
        "t0": st.sampled_from([5.0, 1e6]),
        "weight_decay": _DECAY,
        **_COMMON,
    },
    "NAdam": {
        "lr": rate(1e-3, 0.05),
        "betas": _BETAS,
        "eps": _EPS,
        "weight_decay": _DECAY,
        "momentum_decay": rate(0, 0.1),
        "decoupled_weight_decay": _FLAGS,
        **_COMMON,
    },
    "RMSprop": {
        "lr": rate(1e-4, 1e-2),
        "alpha": rate(0.5, 0.99),
        "eps": st.sampled_from([1e-3, 0.1]),
        "weight_decay": _DECAY,
        "momentum": st.sampled_from([0, 0.9]),
        "centered": _FLAGS,
        **_COMMON,
    },
    "Rprop": {
        "lr": rate(1e-3, 0.1),
        "etas": st.tuples(rate(0.3, 0.7), rate(1.1, 1.3)),
        "step_sizes": st.just((1e-6, 0.5)),
        **_COMMON,
    },
    "SGD": {
        "lr": rate(1e-3, 0.02),
        "momentum": st.sampled_from([0, 0.9]),
        "weight_decay": _DECAY,
        "dampening": st.sampled_from([0, 0.3]),
        "nesterov": _FLAGS,
        **_COMMON,
    },
    "SparseAdam": {"lr": rate(1e-3, 0.05), "betas": _BETAS, "eps": _EPS, "maximize": _FLAGS},
}


@st.composite
def settings_of(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """Settings that the constructor of this optimizer accepts, and under which its law is exact.

    Raises:
        UsageError: There is no such optimizer, or its law is never exact.
    """
    if name not in SETTINGS:
        raise unknown("optimizer with an exact law", name, SETTINGS)
    known = inspect.signature(getattr(torch.optim, name)).parameters  # older torch has fewer
    drawn = draw(st.fixed_dictionaries({k: v for k, v in SETTINGS[name].items() if k in known}))
    if drawn.get("nesterov") and (drawn["momentum"] == 0 or drawn["dampening"] != 0):
        drawn["nesterov"] = False
    if name in _FUSED and not drawn["foreach"] and draw(_FLAGS):
        drawn |= {"foreach": None, "fused": True}
    return {k: v for k, v in drawn.items() if v is not None and v is not False}


def optimizers() -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    """An optimizer's name and settings, as `settings_of` draws them."""
    return st.sampled_from(["SGD", *sorted(SETTINGS.keys() - {"SGD"})]).flatmap(
        lambda name: st.tuples(st.just(name), settings_of(name))
    )
