"""Small line charts as SVG, in the page's own colours, so that they are right in light and dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from suite.figures.labels import place_labels

WIDTH, HEIGHT = 540, 220
LEFT, RIGHT, TOP, BOTTOM = 40, 225, 12, 34
LABEL = 11.0
"""Height of a label."""


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Args:
        label: at its end; empty for none.
        points: x and y, y above 0.
        style: a class of the page's style sheet.
    """

    label: str
    points: Sequence[tuple[float, float]]
    style: str


def chart(lines: Sequence[Line], *, title: str, x: str, ticks: Sequence[float], log_x: bool) -> str:
    """A chart with a logarithmic y axis, as an `<svg>` with all text escaped; empty where nothing is there.

    Args:
        lines: to be drawn.
        title: what is shown, for those who cannot see it.
        x: what the x axis is.
        ticks: on the x axis.
        log_x: whether the x axis is logarithmic.
    """
    values = [value for line in lines for _, value in line.points if value > 0]
    if not values or not ticks:
        return ""
    low, high = math.floor(math.log10(min(values)) - 0.05), math.ceil(math.log10(max(values)) + 0.05)
    reach = [*ticks, *(place for line in lines for place, _ in line.points)]
    first, last = (_at(end, log_x=log_x) for end in (min(reach), max(reach)))

    def across(value: float) -> float:
        share = (_at(value, log_x=log_x) - first) / (last - first) if last > first else 0.5
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def down(value: float) -> float:
        share = (math.log10(value) - low) / (high - low)
        return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)

    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        *_axes(x, ticks, across, down, low, high),
    ]
    ends = []
    for line in lines:
        path = " ".join(f"{across(px):.1f},{down(py):.1f}" for px, py in line.points if py > 0)
        parts.append(f'<polyline class="{line.style}" points="{path}"/>')
        if line.label and line.points:
            ends.append((down(line.points[-1][1]), line))
    return "".join([*parts, *_labels(ends), "</svg>"])


def _axes(
    x: str,
    ticks: Sequence[float],
    across: Callable[[float], float],
    down: Callable[[float], float],
    low: int,
    high: int,
) -> Iterator[str]:
    for power in range(low, high + 1, max(1, (high - low) // 5)):
        y = down(10.0**power)
        yield f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>'
        sign = f'10<tspan dy="-4" font-size="8">{str(power).replace("-", "−")}</tspan>'
        yield f'<text x="{LEFT - 6}" y="{y + 3:.1f}" text-anchor="end">{sign}</text>'
    for tick in ticks:
        place = f'x="{across(tick):.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle"'
        yield f"<text {place}>{tick:g}</text>"
    yield f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}" text-anchor="middle">{escape(x)}</text>'


def _labels(ends: list[tuple[float, Line]]) -> Iterator[str]:
    """Labels beside the ends of the lines, apart from each other."""
    ends = sorted(ends, key=lambda end: end[0])
    start = WIDTH - RIGHT
    places = place_labels([y for y, _ in ends], LABEL, TOP, HEIGHT - 6)
    for place, (y, line) in zip(places, ends, strict=True):
        lead = f'x1="{start + 2}" y1="{y:.1f}" x2="{start + 12}" y2="{place:.1f}"'
        yield f'<line class="lead {line.style}" {lead}/>'
        yield f'<text x="{start + 15}" y="{place + 3:.1f}">{escape(line.label)}</text>'


def _at(value: float, *, log_x: bool) -> float:
    return math.log2(value) if log_x else value
