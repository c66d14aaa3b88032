"""How long property tests take: `dev` while one writes, `ci` for every change, `nightly` for the night."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

from suite.errors import unknown

PROFILE_VARIABLE = "HYPOTHESIS_PROFILE"
EXAMPLES_BY_PROFILE = {"dev": 10, "ci": 50, "nightly": 1500}
"""How many examples each property gets."""


def load_profile(name: str | None = None) -> None:
    """Let all properties of this process run under a profile.

    `dev` and `nightly` keep the examples that failed in `.hypothesis` and begin with them; `ci` tries the
    same examples whenever and wherever it runs. None has a deadline: a shared machine is slow at times.

    Args:
        name: of the profile; by default what the environment's HYPOTHESIS_PROFILE says, or else `ci`.

    Raises:
        UsageError: There is no such profile.
    """
    chosen = name or os.environ.get(PROFILE_VARIABLE, "ci")
    if chosen not in EXAMPLES_BY_PROFILE:
        raise unknown("profile", chosen, EXAMPLES_BY_PROFILE)
    for each, count in EXAMPLES_BY_PROFILE.items():
        fixed = each == "ci"
        settings.register_profile(
            each,
            max_examples=count,
            deadline=None,
            derandomize=fixed,
            database=None if fixed else DirectoryBasedExampleDatabase(".hypothesis/examples"),
            suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
        )
    settings.load_profile(chosen)
