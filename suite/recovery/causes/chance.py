"""Gradients that change from call to call: state of their own, noise, random losses."""

from __future__ import annotations

from suite.recovery.causes.cause import SEEDS, Cause, Trial, attempt
from suite.recovery.experiment import Experiment
from suite.recovery.step import GradientByName

FROM_CALL_TO_CALL = "changes from call to call"


def changing(tried: Experiment) -> Cause | None:
    """The step's next call is another step: it counts its calls, or keeps what cannot be put back.

    Where a call takes long, a step that can keep nothing, and left no count behind, is not called again.
    """
    around = tried.surroundings
    if tried.few is not None and around.transparent and not around.left_values:
        return None
    return attempt(lambda: state_of_its_own(tried)) or attempt(lambda: counted(tried))


def state_of_its_own(tried: Experiment) -> Cause | None:
    """The step once more is another one, though all that can be put back was: nothing can be tried on it."""
    if not tried.differ(tried.control, tried.gradient):
        return None
    return Cause(
        FROM_CALL_TO_CALL,
        f"its next call leaves another gradient{_share(tried, tried.control)}, with the same random numbers: "
        "it counts its calls, draws numbers of its own, or keeps what could not be put back",
    )


def counted(tried: Experiment) -> Cause | None:
    """With the counters and switches that one call leaves behind, the next is another one."""
    if not tried.surroundings.left_values:  # each call so far left none
        return None
    after, names = tried.next_call()
    if after is None or not tried.differ(after, tried.gradient):
        return None
    return Cause(
        FROM_CALL_TO_CALL,
        f"its next call leaves another gradient{_share(tried, after)}: it depends on {', '.join(names)}, "
        "which each call changes",
    )


def _share(tried: Experiment, other: GradientByName) -> str:
    return f", by {tried.distance(other, tried.gradient) / max(tried.size, 1e-300):.2g} of its norm"


def noise(trial: Trial) -> Cause | None:
    """Noise, or random inputs: with other random numbers the gradient is another one."""
    tried = trial.tried
    first, second = (tried.again(seed=seed, without=trial.without) for seed in SEEDS)
    if not tried.differ(first, second):
        return None
    share = tried.distance(first, second) / 2**0.5 / max(tried.size, 1e-300)
    besides = f", with {' and '.join(trial.without)} switched off" if trial.without else ""
    changes = f"by {share:.2g} of its norm, though the samples are the same{besides}"
    if tried.random:
        return Cause(
            "random losses",
            f"the losses change from call to call, and the gradient {changes}: the losses draw random "
            "numbers, not in the order of the step's; draw them before, and pass them with the batch",
        )
    drawn = attempt(lambda: tried.drawing(trial.without))
    modules = () if drawn is None else tuple(drawn.modules)
    by = (
        f"random numbers are drawn in {', '.join(modules)}"
        if modules
        else "no module draws random numbers: noise was added, or the inputs are random"
    )
    return Cause("noise", f"the gradient changes from call to call, {changes}: {by}")
