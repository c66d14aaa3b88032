"""Hypothesis strategies for everything that gradsuite measures, for its own tests and for yours.

What they draw shrinks to what a person can read: two samples, one parameter.

```python
from hypothesis import given
from suite import strategies

@given(strategies.units(needs=("weight",)))
def test_my_reduction(units): ...
```
"""

from __future__ import annotations

try:
    import hypothesis as _  # noqa: F401  only to see that it is there
except ImportError:
    from suite.errors import UsageError

    raise UsageError("suite.strategies needs Hypothesis: pip install hypothesis") from None

from suite.strategies.conventions import coefficients, powers_of_two
from suite.strategies.conventions import registered_conventions as conventions
from suite.strategies.examples import Example, examples
from suite.strategies.optimizers import optimizers, settings_of
from suite.strategies.problems import DrawnProblem as Problem
from suite.strategies.problems import loss_expressions as losses
from suite.strategies.problems import models, problems
from suite.strategies.profiles import load_profile
from suite.strategies.tables import units

__all__ = [
    "Example",
    "Problem",
    "coefficients",
    "conventions",
    "examples",
    "load_profile",
    "losses",
    "models",
    "optimizers",
    "powers_of_two",
    "problems",
    "settings_of",
    "units",
]
