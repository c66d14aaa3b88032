"""The conventions: named ways to make one gradient of a batch, each with its reference loop.

A new one is one function in one of these modules: the literal loop that people write, then, under
the `@convention` decorator, the coefficients that the loop amounts to.
"""

from suite.conventions.convention import Convention, convention, conventions

# The order of import is the order of the tables.
from suite.conventions import (  # isort: skip
    averages,
    weights,
    tokens,
    accumulation,
    ranks,
    parts,
    clipping,
    sampling,
    faults,
    parameterwise,
)

__all__ = [
    "Convention",
    "accumulation",
    "averages",
    "clipping",
    "convention",
    "conventions",
    "faults",
    "parameterwise",
    "parts",
    "ranks",
    "sampling",
    "tokens",
    "weights",
]
