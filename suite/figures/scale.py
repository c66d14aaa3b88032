"""The scale of conventions against the batch size, with its power of n where all cases have that one."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from suite.figures.style import COLOURS, DASHES, MARKERS, apart, height, without_math

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ONE_PANEL = 8
"""So many lines share a panel; more are spread over the families of conventions."""

GAP, HEAD, FOOT = 0.34, 0.36, 0.42


@dataclass(frozen=True)
class Curve:
    """The scale of conventions that agree in it, against the batch size.

    Args:
        names: of the conventions.
        family: of the conventions, the module in which they are defined.
        sizes: the batch sizes.
        scales: `[sizes]` the geometric mean over cases and full batches.
        exponent: b of the power law `a·n^b`, with an `a` for each case; None from one size alone, and where
            the cases have no such law in common.
    """

    names: tuple[str, ...]
    family: str
    sizes: tuple[int, ...]
    scales: tuple[float, ...]
    exponent: float | None


def draw(figure: Figure, curves: Sequence[Curve], reference: str, cases: int) -> None:
    """A line each group of conventions that agree, its exponent behind its name."""
    wide = figure.get_figwidth() > 4
    size = 6.2 if wide else 5.4
    same = [name for curve in curves if _one(curve) for name in curve.names]
    curves = [curve for curve in curves if not _one(curve)] or list(curves)
    panels = _panels(curves)
    across = 2 if wide and len(panels) > 1 else 1
    rows = [panels[k : k + across] for k in range(0, len(panels), across)]
    least = 2.2 if len(panels) == 1 else 1.0 if wide else 0.72
    heights = [max(least, max(map(len, row)) * size * 1.3 / 72) for row in rows]
    width = figure.get_figwidth()
    foot = (
        textwrap.fill(f"On full batches the same as {reference}: {', '.join(same)}.", int(width * 22))
        if same
        else ""
    )
    below = FOOT + 0.1 * (foot.count("\n") + 1 if foot else 0)
    height(figure, sum(heights) + GAP * (len(rows) - 1) + HEAD + below)
    figure.set_layout_engine("none")
    total = figure.get_figheight()
    limits = _limits(curves)
    sizes = sorted({size for curve in curves for size in curve.sizes})
    top = total - HEAD
    longest = max(len(_label(curve).replace("$n^{", "").replace("}$", "")) for curve in curves)
    beside = 0.0083 * size * (longest + 1) + 0.12
    for row, tall in zip(rows, heights, strict=True):
        for k, panel in enumerate(row):
            left = 0.42 + k * width / across
            long = width / across - 0.42 - beside
            axes = figure.add_axes((left / width, (top - tall) / total, long / width, tall / total))
            _panel(axes, panel, sizes, limits, size)
            if len(panels) > 1:
                axes.set_title(panel[0].family, loc="left", fontsize=size + 0.6, pad=3)
            if row is rows[-1]:
                axes.set_xlabel("batch size n")
        top -= tall + GAP
    over = f", mean of {cases} cases" if cases > 1 else ""
    more = ", full batches" + ("; a power of n where all cases have it" if wide else "")
    title = without_math(f"Gradient ÷ that of {reference}{over}{more}")
    figure.text(0.01, 1 - 0.03 / total, title, va="top", fontsize=7 if wide else 6)
    figure.text(
        0.01, 0.02 / total, without_math(foot), fontsize=5, va="bottom", color="#444444", linespacing=1.35
    )


def _one(curve: Curve) -> bool:
    """Whether there is no difference at all."""
    return all(abs(scale - 1) < 1e-12 for scale in curve.scales)


def _panels(curves: Sequence[Curve]) -> list[list[Curve]]:
    """All in one, or a panel for each family of conventions."""
    if len(curves) <= ONE_PANEL:
        return [list(curves)]
    families = dict.fromkeys(curve.family for curve in curves)
    return sorted(([c for c in curves if c.family == family] for family in families), key=len, reverse=True)


def _limits(curves: Sequence[Curve]) -> tuple[float, float]:
    values = [scale for curve in curves for scale in curve.scales]
    return min(values) / 1.6, max(values) * 1.6


def _panel(
    axes: Axes, curves: Sequence[Curve], sizes: Sequence[int], limits: tuple[float, float], size: float
) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=10)
    axes.set_ylim(*limits)
    axes.set_xlim(min(sizes) * 0.85, max(sizes) * 1.15)
    axes.axhline(1, lw=0.5, color="#999999")
    ends = []
    for k, curve in enumerate(curves):
        colour, dashes = COLOURS[k % len(COLOURS)], DASHES[k % len(DASHES)]
        marker = MARKERS[k % len(MARKERS)]
        axes.plot(curve.sizes, curve.scales, color=colour, linestyle=dashes, marker=marker, clip_on=False)
        ends.append((curve.scales[-1], _label(curve), colour))
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.minorticks_off()
    axes.tick_params(labelsize=size)
    axes.grid(axis="y", lw=0.3, color="#dddddd")
    axes.set_axisbelow(True)
    apart(ends, axes, max(sizes), size)


def _label(curve: Curve) -> str:
    names = without_math(curve.names[0]) + (f" (+{len(curve.names) - 1})" if len(curve.names) > 1 else "")
    if curve.exponent is None:
        return names
    if not round(curve.exponent, 2):
        return f"{names}  constant"
    return f"{names}  $n^{{{curve.exponent:.2f}}}$"
