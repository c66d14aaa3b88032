"""The same examples of the same seed, wherever the suite lies and whatever else is imported.

One draw in twenty of a number, a text or bytes, Hypothesis takes from the constants that it finds in the
source of the modules that are imported, so far as they are not installed: in a checkout those of the suite
are among them, in `site-packages` they are not, and a test that was imported before brings its own. Every
later draw of the example is another one then. Under a fixed seed these constants are left out; those that
Hypothesis knows itself (0, 1e300, nan, 2**31 …) are drawn all the same.

Hypothesis has no setting for that (6.170), and its alternative backends do not mutate what they drew: so one
function of it is replaced. Older versions, which take no constants from anywhere, have none to replace.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

try:
    from hypothesis.internal.conjecture import providers
except ImportError:  # uncovered: in older versions alone, which have nothing to replace
    providers = None  # type: ignore[assignment]

NAME = "_get_local_constants"
_original = getattr(providers, NAME, None)


def leave_constants_out() -> None:
    """From now on, draw what does not depend on what is imported."""
    if _original is not None:  # uncovered branch: older versions alone have none
        _put(_none)


def take_constants() -> None:
    """From now on, draw as Hypothesis does by itself."""
    if _original is not None:  # uncovered branch: older versions alone have none
        _put(_original)


@contextmanager
def everywhere_alike() -> Iterator[None]:
    """The same examples everywhere, meanwhile."""
    before = getattr(providers, NAME, None)
    leave_constants_out()
    try:
        yield
    finally:
        if before is not None:  # uncovered branch: older versions alone have none
            _put(before)


def _put(function: Any) -> None:
    setattr(providers, NAME, function)
    # It remembers which constants fit which kind of draw.
    providers.CONSTANTS_CACHE.cache.clear()


def _none() -> Any:
    """No constants, in Hypothesis' own type."""
    return type(providers.GLOBAL_CONSTANTS)()
