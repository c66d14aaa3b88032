"""Where labels go that would overlap: apart, and no further from their places than needed."""

from __future__ import annotations

from collections.abc import Sequence


def spread(wanted: Sequence[float], step: float, low: float, high: float) -> list[float]:
    """The places nearest to those `wanted`, by the sum of squares, that keep `step` apart and within bounds.

    What must be apart is a rising sequence once each place is moved down by its number of steps, and the
    nearest rising sequence is one of means of neighbours: pool adjacent violators (Barlow et al. 1972).

    Args:
        wanted: rising.
        step: between neighbours at least; less where the bounds leave no room for it.
        low: the least place.
        high: the largest.
    """
    gaps = max(len(wanted) - 1, 1)
    step = min(step, (high - low) / gaps)
    pools: list[tuple[float, int]] = []
    for number, place in enumerate(wanted):
        total, count = place - number * step, 1
        while pools and pools[-1][0] * count > total * pools[-1][1]:
            before, more = pools.pop()
            total, count = total + before, count + more
        pools.append((total, count))
    level = [total / count for total, count in pools for _ in range(count)]
    top = high - (len(wanted) - 1) * step
    return [min(max(place, low), top) + number * step for number, place in enumerate(level)]
