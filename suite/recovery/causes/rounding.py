"""Rounding: all that separates a step in a narrow format from a weighting of the units."""

from __future__ import annotations

from suite.recovery.causes.cause import Cause, beneath
from suite.recovery.experiment import Experiment, Weighting


def rounded_off(tried: Experiment, found: Weighting) -> Cause:
    """That the step's formats are coarse, with the weights beneath, if they can be told."""
    name = f"rounding of {tried.formats.name}"
    if tried.blind:
        return Cause(
            name,
            "it may be as large as the gradient itself, so no weights can be told; run the step in float32",
        )
    share = found.solution.residual / max(found.solution.size, 1e-300)
    says = f"{share:.2%} of the gradient, where up to {tried.tolerance:.2%} is to be expected"
    return beneath(name, says, found)
