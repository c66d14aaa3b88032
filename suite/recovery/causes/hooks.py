"""Hooks on parameters, which change gradients in the backward pass: the step is run without them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from suite.recovery.causes.cause import Cause, Trial, beneath

HOOK_KINDS = ("_backward_hooks", "_post_accumulate_grad_hooks")
HOOKS_SHOWN = 3


def hooked(trial: Trial) -> Cause | None:
    """Hooks on parameters, if the gradient without them is a weighting."""
    tried = trial.tried
    names = [name for name, parameter in tried.model.named_parameters() if _hooks(parameter)]
    if not names:
        return None
    with _unhooked(tried.model):
        gradient = tried.again(without=trial.without)
    free = tried.with_gradient(gradient)
    weighting = free.weighting_of(free.root)
    if not weighting.linear or not tried.differ(gradient, trial.gradient):
        return None
    more = f" and {len(names) - HOOKS_SHOWN} more" if len(names) > HOOKS_SHOWN else ""
    return beneath(
        "hooks on parameters",
        f"hooks on {', '.join(names[:HOOKS_SHOWN])}{more} change the gradient; without them it is a "
        "weighting",
        weighting,
    )


def _hooks(parameter: nn.Parameter) -> list[dict[int, Any]]:
    found = [getattr(parameter, kind, None) for kind in HOOK_KINDS]
    return [hooks for hooks in found if hooks]


@contextmanager
def _unhooked(model: nn.Module) -> Iterator[None]:
    """Inside, no parameter has hooks."""
    kept = [(hooks, dict(hooks)) for parameter in model.parameters() for hooks in _hooks(parameter)]
    for hooks, _ in kept:
        hooks.clear()
    try:
        yield
    finally:
        for hooks, before in kept:
            hooks.clear()
            hooks.update(before)
