"""Gradients that change from call to call: state of their own, noise, random losses."""

from __future__ import annotations

from suite.recovery.causes.cause import SEEDS, Cause, Trial
from suite.recovery.experiment import Experiment


def state_of_its_own(tried: Experiment) -> Cause | None:
    """The step once more is another one, though all that can be put back was: nothing can be tried on it."""
    if not tried.differ(tried.control, tried.gradient):
        return None
    share = tried.distance(tried.control, tried.gradient) / max(tried.size, 1e-300)
    return Cause(
        "changes from call to call",
        f"its next call, with the same random numbers, leaves another gradient, by {share:.2g} of its norm: "
        "it counts its calls, draws from a generator of its own, or keeps what could not be put back",
    )


def noise(trial: Trial) -> Cause | None:
    """Noise, or random inputs: with other random numbers the gradient is another one."""
    tried = trial.tried
    first, second = (tried.again(seed=seed, without=trial.without) for seed in SEEDS)
    if not tried.differ(first, second):
        return None
    share = tried.distance(first, second) / 2**0.5 / max(tried.size, 1e-300)
    changes = f"by {share:.2g} of its norm, though the samples are the same"
    if tried.random:
        return Cause(
            "random losses",
            f"the losses change from call to call, and the gradient {changes}: the losses draw random "
            "numbers, not in the order of the step's; draw them before, and pass them with the batch",
        )
    return Cause(
        "noise",
        f"the gradient changes from call to call, {changes}: noise was added, or the inputs are random",
    )
