"""An L2 term: the parameters themselves are part of the gradient."""

from __future__ import annotations

import numpy as np

from suite.recovery.causes.cause import Cause, Trial, beneath
from suite.recovery.solve import Root, solve


def decayed(trial: Trial) -> Cause | None:
    """An L2 term: the parameters themselves explain the rest."""
    tried, whole = trial.as_is, trial.as_is.root
    with_parameters = Root(whole.r, whole.units + 1)
    solution = solve(with_parameters.gradients, whole.side, tried.precision)
    if not solution.identifiable[-1] or not tried.is_linear(solution, with_parameters.norms):
        return None
    rest = Root(
        np.column_stack([whole.gradients, whole.side - solution.weights[-1] * whole.r[:, -2]]),
        whole.units,
    )
    found = tried.weighting_of(rest)
    says = f"{solution.weights[-1]:.6g} × the parameters is part of the gradient"
    return beneath("an L2 term", says, found)
