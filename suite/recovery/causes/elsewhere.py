"""Gradients taken at other parameters: uphill, as sharpness-aware methods take them, or ahead."""

from __future__ import annotations

from dataclasses import replace

from suite.recovery.causes.cause import Cause, Trial, beneath, norm_of
from suite.recovery.in_float64 import UnitProblem
from suite.recovery.unit_gradients import unit_gradients


def elsewhere(trial: Trial) -> Cause | None:
    """The step moves the parameters before its last backward pass: of the units there it is a weighting."""
    tried = trial.tried
    if not tried.reruns or tried.coarse:
        return None
    there = tried.places(trial.without)
    if not there:
        return None
    given = UnitProblem(tried.model, tried.batch, tried.losses, tried.regulariser)
    with tried.placed(there):
        computed = unit_gradients(given, tried.engine, tried.memory)
    moved = replace(tried, computed=computed, gradient=trial.gradient, few=None)
    vars(moved)["precision"] = tried.precision  # which is asked of the losses as the parameters were
    weighting = moved.weighting_of(moved.root)
    if not weighting.linear or weighting.spans:
        return None
    here = {name: p.detach() for name, p in tried.model.named_parameters()}
    far = norm_of({name: part - here[name] for name, part in there.items()})
    share = far / max(norm_of(here), 1e-300)
    return beneath(
        "a gradient taken elsewhere",
        f"the parameters are moved by {far:.4g} ({share:.2%} of their norm) before the last backward pass, "
        "as sharpness-aware minimisation and look-ahead steps move them; there the "
        "gradient is a weighting of the units",
        weighting,
    )
