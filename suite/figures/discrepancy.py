"""The heat map: conventions × conventions, the scale above the diagonal and the direction below it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from suite.algebra.pairs import Pair
from suite.algebra.significant import significant
from suite.figures.style import height, without_math

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SMALLEST = 8.5
"""Points: no numbers in cells that are smaller."""


@dataclass(frozen=True)
class Heatmap:
    """Conventions × conventions.

    Args:
        names: of the rows and columns.
        same: by name, the conventions that are identical to it wherever both were measured.
        pairs: by row and column, over the cases that have both, the scale that is farthest from 1 and
            the largest residual; pairs that no case has are missing.
        cases: over which.
        batches: of which batches, in words.
        apart: by name, those of `same` that other batches of the run tell from it.
    """

    names: tuple[str, ...]
    same: Mapping[str, tuple[str, ...]]
    pairs: Mapping[tuple[str, str], Pair]
    cases: tuple[str, ...]
    batches: str = ""
    apart: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def draw(figure: Figure, found: Heatmap) -> None:
    """Both triangles with their colour bars; numbers in the cells where there is room."""
    from matplotlib.colors import LogNorm, Normalize

    count = len(found.names)
    width = figure.get_figwidth()
    labels = [without_math(name) + ("*" if found.same[name] else "") for name in found.names]
    size, margin, cell = _fit(width, labels)
    same = _same(found, int(width * 21))
    foot = 0.55 + 0.1 * same.count("\n") + (0.14 if same else 0)
    height(figure, margin + cell * count + foot)
    total = figure.get_figheight()
    figure.set_layout_engine("none")
    axes = figure.add_axes((margin / width, foot / total, cell * count / width, cell * count / total))

    scale, direction = _matrices(found)
    reach = float(np.nanmax(np.maximum(scale, 1 / scale), initial=2.0))
    edges = np.arange(count + 1) - 0.5
    maps: dict[str, Any] = {}
    for name, values, colours, norm in (
        ("scale", scale, "PuOr_r", LogNorm(1 / reach, reach)),
        ("direction", direction, "GnBu", Normalize(0, 1)),
    ):
        shown = np.ma.masked_invalid(values)
        maps[name] = axes.pcolormesh(edges, edges, shown, cmap=colours, norm=norm, edgecolors="white", lw=0.3)
    _hatch(axes, scale)
    if cell * 72 >= SMALLEST:
        _numbers(axes, scale, maps["scale"], _ratio, min(6.0, cell * 72 * 0.4))
        _numbers(axes, direction, maps["direction"], _percent, min(6.0, cell * 72 * 0.4))
    _diagonal(axes, count)
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_xticks(range(count), labels, rotation=90, fontsize=size)
    axes.set_yticks(range(count), labels, fontsize=size)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, pad=2)
    for spine in axes.spines.values():
        spine.set_visible(False)
    _bars(figure, maps, margin, foot, same)


def _fit(width: float, labels: list[str]) -> tuple[float, float, float]:
    """The size of the type, the room for labels beside the cells, and the size of a cell, in inches."""
    size = 6.5
    for _ in range(4):  # each depends on the others
        margin = 0.0083 * size * max(map(len, labels)) + 0.1
        cell = (width - margin - 0.08) / max(len(labels), 4)
        size = min(6.5 if width > 4 else 5.5, max(3.5, cell * 72 * 0.8))
    return size, margin, cell


def _matrices(found: Heatmap) -> tuple[np.ndarray, np.ndarray]:
    """Scales above the diagonal, residuals below; nan elsewhere and where nothing is known."""
    count = len(found.names)
    scale, direction = np.full((count, count), np.nan), np.full((count, count), np.nan)
    for i, a in enumerate(found.names):
        for j, b in enumerate(found.names):
            pair = found.pairs.get((a, b))
            if pair is None:
                continue
            if j > i and pair.scale is not None and pair.scale > 0:
                scale[i, j] = pair.scale
            elif j < i:
                direction[i, j] = pair.residual
    return scale, direction


def _hatch(axes: Axes, scale: np.ndarray) -> None:
    """Scales below 1, which in grey look like their reciprocals."""
    from matplotlib.patches import Rectangle

    for i, j in np.argwhere(scale < 1 - 1e-9):
        axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, hatch="//////", lw=0))


def _diagonal(axes: Axes, count: int) -> None:
    from matplotlib.patches import Rectangle

    for k in range(count):
        axes.add_patch(Rectangle((k - 0.5, k - 0.5), 1, 1, color="#dddddd", lw=0))


def _numbers(axes: Axes, values: np.ndarray, drawn: Any, show: Callable[[float], str], size: float) -> None:
    for i, j in np.argwhere(np.isfinite(values)):
        value = float(values[i, j])
        shade = drawn.cmap(drawn.norm(value))[:3]
        dark = float(np.dot(shade, (0.299, 0.587, 0.114))) < 0.5
        text = show(value)
        fit = min(size, size * 3.1 / max(len(text), 1))
        axes.text(j, i, text, ha="center", va="center", fontsize=fit, color="white" if dark else "black")


def _ratio(scale: float) -> str:
    """`8`, `1/8`, `2.5`; nothing for 1."""
    if abs(scale - 1) < 1e-9:
        return ""
    if abs(scale - 1) < 0.05:
        return f"{scale:.2f}"
    if scale < 1:
        return f"1/{significant(1 / scale, 2)}"
    return significant(scale, 2)


def _percent(residual: float) -> str:
    return "" if residual < 5e-3 else f"{100 * residual:.0f}"


def _bars(figure: Figure, maps: dict[str, Any], margin: float, foot: float, same: str) -> None:
    width, total = figure.get_figwidth(), figure.get_figheight()
    long = (width - margin) * 0.44
    titles = {
        "scale": "above: scale, row ÷ column" + (" (hatched: below 1)" if width > 4 else ""),
        "direction": "below: direction, % no rate repairs" if width > 4 else "below: direction",
    }
    for k, name in enumerate(titles):
        left = (margin + k * (width - margin) * 0.5) / width
        bar = figure.add_axes((left, (foot - 0.2) / total, long / width, 0.07 / total))
        figure.colorbar(maps[name], cax=bar, orientation="horizontal")
        bar.tick_params(labelsize=5.5, length=2, pad=1)
        bar.minorticks_off()
        if name == "direction":
            bar.set_xticks([0, 0.5, 1], ["0", "50", "100"])
        bar.set_xlabel(titles[name], fontsize=6 if width > 4 else 5.2, labelpad=1)
        bar.spines[:].set_visible(False)
    if same:
        figure.text(0.01, 0.02 / total, same, fontsize=5, va="bottom", color="#444444", linespacing=1.35)


def _same(found: Heatmap, columns: int) -> str:
    several = (
        f"{len(found.cases)} cases: the scale farthest from 1, and the largest direction, of each pair. "
    )
    several = (several if len(found.cases) > 1 else "") + (f"Of {found.batches}. " if found.batches else "")
    told = "; ".join(f"{first} = {', '.join(others)}" for first, others in found.same.items() if others)
    lines = several + (f"* the same on these batches: {told}." if told else "")
    apart = "; ".join(f"{', '.join(others)} from {first}" for first, others in found.apart.items())
    lines += f" Other batches of the run tell apart: {apart}." if apart else ""
    return without_math(textwrap.fill(lines, columns, break_on_hyphens=False))
