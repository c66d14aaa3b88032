"""Coefficients, scales, and the registered conventions."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from suite.algebra.units import Column, Units
from suite.conventions import Convention, conventions

ENTRIES = st.one_of(
    st.sampled_from([1.0, 0.0, 2.0, 0.5]),
    st.floats(-8, 8, width=16, allow_subnormal=False),
)


def registered_conventions(table: Units | None = None) -> st.SearchStrategy[Convention]:
    """Registered conventions, faults among them; those that apply to `table`, if one is given."""
    return st.sampled_from([c for c in conventions if table is None or c.missing(table) is None])


def coefficients(count: int) -> st.SearchStrategy[Column]:
    """`[count]` any coefficients: ones, zeros, and numbers of both signs."""
    return st.lists(ENTRIES, min_size=count, max_size=count).map(np.array)


def powers_of_two(limit: int = 12) -> st.SearchStrategy[float]:
    """Scales that round nothing, from `2**-limit` to `2**limit`."""
    return st.integers(-limit, limit).map(lambda power: 2.0**power)
