"""Numbers for people: as many digits as they deserve, and a power of ten only where digits would be many."""

from __future__ import annotations

WRITTEN_OUT = 1e5
"""Numbers below it are written out: 127, not 1.3e+02."""


def significant(value: float, digits: int) -> str:
    """`value` with this many significant digits; whole numbers of up to five digits are written out."""
    text = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e+" in text and round(abs(value)) < WRITTEN_OUT else text
