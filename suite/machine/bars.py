"""tqdm's bar: a widget in a notebook that has widgets, a line elsewhere."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    # A notebook without ipywidgets gets lines, of which tqdm warns.
    warnings.simplefilter("ignore")
    from tqdm.auto import tqdm

Bar = type("Bar", (tqdm,), {"monitor_interval": 0})
"""No thread looks after bars that nobody refreshes: each step refreshes its own."""


def is_widget() -> bool:
    """Whether a bar is a widget, in place of what standard error would show."""
    return any(base.__module__ == "tqdm.notebook" for base in Bar.__mro__)
