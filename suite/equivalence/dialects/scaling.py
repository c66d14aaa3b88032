"""A translation for another convention: schedules and initial state follow the scale too."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from suite.equivalence.dialects.translation import Schedule, Translation
from suite.equivalence.equivalent import equivalent
from suite.equivalence.laws import law

if TYPE_CHECKING:
    from suite.equivalence.law import Scale


def scaled(translation: Translation, scale: Scale) -> Translation:
    """The translation for gradients `scale` times as large.

    Hyperparameters, schedules and initial state are multiplied by their powers of the scale. The factors
    are not: they are ratios of rates, or `1 − ηλ` with the rate and the decay of the dialect.

    Args:
        translation: for the old convention.
        scale: gradient of the new convention / gradient of the old one.

    Raises:
        UsageError: The scale or a hyperparameter is impossible.
    """
    result = equivalent(translation.optimizer, translation.hyperparameters, scale=scale)
    if result.scale == 1:
        return translation
    rule = law(translation.optimizer)
    powers = rule.exponents(rule.settings(translation.hyperparameters))

    def times(name: str, schedule: Schedule) -> Schedule:
        power = powers[name]
        if not isinstance(power, int) or power == 0:
            return schedule
        factor = float(result.scale) ** power
        return Schedule(f"{factor:g}·{schedule.formula}", lambda step: factor * schedule(step))

    reasons = [translation.reason] if translation.exact else [f"translation: {translation.reason}"]
    reasons += [] if result.exact else [f"scale: {result.reason}"]
    return replace(
        translation,
        hyperparameters=result.hyperparameters,
        exact=translation.exact and result.exact,
        reason="; ".join(reasons),
        schedule={name: times(name, schedule) for name, schedule in translation.schedule.items()},
        initial_state={
            name: value * float(result.scale) ** rule.state[name]
            for name, value in translation.initial_state.items()
        },
    )
