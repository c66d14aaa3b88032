"""The search for causes: which are tried, in which order, and which together.

A layer is suspected where the step really called it; what is done to gradients after the backward pass is
sought with and without such layers. The fewest causes that explain the gradient to rounding are named. An
experiment in which the step fails says nothing, and ends nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from suite.recovery.causes.alone import other_function
from suite.recovery.causes.cause import Cause, Look, Trial, attempt, beneath
from suite.recovery.causes.chance import noise, state_of_its_own
from suite.recovery.causes.clipping import BY_NORM, by_tensor, clipped_values, held_whole
from suite.recovery.causes.constant import unchanged_part
from suite.recovery.causes.coupling import changed_inputs, coupled_losses
from suite.recovery.causes.decay import decayed
from suite.recovery.causes.elsewhere import elsewhere
from suite.recovery.causes.entries import rounded_entries, zeroed_entries
from suite.recovery.causes.hooks import hooked
from suite.recovery.causes.rows import by_row
from suite.recovery.causes.signs import SIGNS, signs_alone
from suite.recovery.causes.updates import several_updates, unexplained_updates
from suite.recovery.experiment import Experiment


def _nothing_else(trial: Trial) -> Cause | None:
    """The layers that were switched off are all: without them the gradient is a weighting."""
    if not trial.without or not trial.weighting.linear:
        return None
    return beneath("", "the rest is a weighting of the units without it", trial.weighting)


EXPLANATIONS: tuple[Look, ...] = (
    _nothing_else, hooked, signs_alone, clipped_values, by_tensor, by_row, zeroed_entries, rounded_entries,
    decayed, changed_inputs, elsewhere, several_updates,
)  # fmt: skip
"""What may explain a gradient exactly, with the weights beneath; a new one is added here."""


def _updates_or_another_function(trial: Trial) -> Cause | None:
    """Another function, where the step's own gradients add up to it, though it may update inside (MAML)."""
    other = attempt(lambda: other_function(trial))
    if other is not None and other.convention is not None:
        return other
    return attempt(lambda: unexplained_updates(trial)) or other


LAST: tuple[Look, ...] = (noise, unchanged_part, coupled_losses, _updates_or_another_function)
"""What shows where nothing explains the gradient exactly."""


def why(tried: Experiment) -> Cause | None:
    """Why no weighting of the units explains the step's gradient, or None where that cannot be told."""
    changing = attempt(lambda: state_of_its_own(tried))
    if changing is not None:
        return changing
    for trial in _trials(tried):
        for explain in EXPLANATIONS:
            cause = attempt(lambda: explain(trial))  # noqa: B023  called at once
            if cause is not None:
                return _with_clipping(trial, _named(trial, cause))
    if not tried.reruns:
        return None
    quiet = attempt(lambda: _switched_off(tried)) or Trial(tried, (), tried.gradient)
    for explain in LAST:
        cause = attempt(lambda: explain(quiet))  # noqa: B023  called at once
        if cause is not None:
            besides = cause if explain is noise else _besides(quiet, cause)
            # Of what is not explained, a norm that stays proves nothing: its parts may be held each.
            return _with_clipping(quiet, besides) if explain is unchanged_part else besides
    return None


def _trials(tried: Experiment) -> Iterator[Trial]:
    """The step as it is, then without the layers that it called, fewest first."""
    yield Trial(tried, (), tried.gradient)
    active = attempt(lambda: tried.active) or ()
    for count in range(1, len(active) + 1):
        for without in combinations(active, count):
            gradient = attempt(lambda: tried.again(without=without))  # noqa: B023  called at once
            if gradient is not None and tried.differ(gradient, tried.control):
                yield Trial(tried, without, gradient)


def _switched_off(tried: Experiment) -> Trial:
    """The step without all layers that mix samples or draw numbers."""
    active = tried.active
    return Trial(tried, active, tried.again(without=active) if active else tried.gradient)


def _besides(trial: Trial, cause: Cause) -> Cause:
    """The cause with the layers that were switched off, where they changed the gradient."""
    changed = trial.without and trial.tried.differ(trial.gradient, trial.tried.control)
    return _named(trial, cause) if changed else cause


def _named(trial: Trial, cause: Cause) -> Cause:
    """The cause with the layers that had to be switched off to see it."""
    names = [*trial.without, *([cause.name] if cause.name else [])]
    return Cause(" and ".join(names), cause.says, cause.weights, cause.convention, cause.scale)


def _with_clipping(trial: Trial, cause: Cause) -> Cause:
    """The cause, and clipping by norm where the whole gradient was brought to a norm besides."""
    if BY_NORM in cause.name or SIGNS in cause.name or "clipped" in cause.name or not trial.tried.reruns:
        return cause
    says = attempt(lambda: held_whole(trial.tried))
    return cause if says is None else cause.and_(BY_NORM, says)
