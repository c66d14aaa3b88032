"""What was done to a gradient besides weighting its units: causes that an experiment can tell apart.

One kind of cause a module; `search` says in which order they are looked for, and in which combinations.
"""

from suite.recovery.causes.cause import Cause
from suite.recovery.causes.chance import changing
from suite.recovery.causes.clipping import clipped_by_norm
from suite.recovery.causes.rounding import rounded_off
from suite.recovery.causes.search import why

__all__ = ["Cause", "changing", "clipped_by_norm", "rounded_off", "why"]
