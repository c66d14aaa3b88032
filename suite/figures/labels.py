"""Where labels go that would overlap: apart, and no further from their places than needed."""

from __future__ import annotations

from collections.abc import Sequence


def place_labels(wanted: Sequence[float], step: float, low: float, high: float) -> list[float]:
    """The places nearest to those `wanted`, by the sum of squares, that keep `step` apart and within bounds.

    What must be apart is a rising sequence once each place is moved down by its number of steps, and the
    nearest rising sequence is the isotonic regression (Barlow et al. 1972).

    Args:
        wanted: `[labels]` rising.
        step: between neighbours at least; less where the bounds leave no room for it.
        low: the least place.
        high: the largest.
    """
    if not wanted:
        return []
    import numpy as np
    from scipy.optimize import isotonic_regression

    last = len(wanted) - 1
    steps = min(step, (high - low) / max(last, 1)) * np.arange(len(wanted))
    level = isotonic_regression(np.asarray(wanted, dtype=float) - steps).x
    return [float(place) for place in np.clip(level, low, high - steps[last]) + steps]
