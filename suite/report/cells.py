"""Texts as cells of a spreadsheet: what begins like a formula is shown, and not computed."""

from __future__ import annotations

from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def spreadsheet_text(value: Any) -> Any:
    """`value`; a text that a spreadsheet would compute begins with an apostrophe, which it hides.

    >>> spreadsheet_text("=1+1"), spreadsheet_text("mean"), spreadsheet_text(-1.0), spreadsheet_text("-1e-3")
    ("'=1+1", 'mean', -1.0, '-1e-3')
    """
    if not isinstance(value, str) or not value.startswith(FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
