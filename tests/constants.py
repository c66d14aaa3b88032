"""The ci profile draws the same examples wherever the suite lies and whatever else is imported.

One draw in twenty of a number, a text or bytes, Hypothesis takes from the constants that it finds in the
source of the modules that are imported, so far as they are not installed. Every later draw of the example is
another one then, and a property that holds on one machine may meet its counter-example on the next. These
constants are left out; those that Hypothesis knows itself (0, 1e300, nan, 2**31 …) are drawn all the same.

Hypothesis has no setting for that (6.170), and its alternative backends do not mutate what they drew: so one
function of it is replaced, for the tests alone. Older versions take no constants and have none to replace.
"""

from __future__ import annotations

from typing import Any

try:
    from hypothesis.internal.conjecture import providers
except ImportError:
    providers = None  # type: ignore[assignment]

NAME = "_get_local_constants"


def leave_constants_out() -> None:
    """From now on, draw what does not depend on what is imported."""
    if hasattr(providers, NAME):
        setattr(providers, NAME, _none)
        # It remembers which constants fit which kind of draw.
        providers.CONSTANTS_CACHE.cache.clear()


def _none() -> Any:
    """No constants, in Hypothesis' own type."""
    return type(providers.GLOBAL_CONSTANTS)()
