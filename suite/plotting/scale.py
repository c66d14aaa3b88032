"""The scale of conventions against the batch size, with the exponent of the power law fitted to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from suite.plotting.style import COLOURS, DASHES, MARKERS, apart, height
from suite.reporting.curves import Curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(figure: Figure, curves: Sequence[Curve], reference: str, cases: int) -> None:
    """A line each group of conventions; where there are several cases their range is shaded."""
    wide = figure.get_figwidth() > 4
    size = 6.2 if wide else 5.2
    height(figure, max(figure.get_figwidth() * (0.5 if wide else 0.85), len(curves) * size * 1.2 / 72 + 0.6))
    figure.set_layout_engine("none")
    left, right = (0.08, 0.60) if wide else (0.13, 0.52)
    axes = figure.add_axes(
        (left, 0.34 / figure.get_figheight(), right - left, 1 - 0.5 / figure.get_figheight())
    )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=10)
    for k, curve in enumerate(curves):
        colour, dashes = COLOURS[k % len(COLOURS)], DASHES[k // len(COLOURS) % len(DASHES)]
        axes.plot(
            curve.sizes,
            curve.scales,
            color=colour,
            linestyle=dashes,
            marker=MARKERS[k % len(MARKERS)],
            clip_on=False,
        )
        if cases > 1:
            axes.fill_between(curve.sizes, curve.low, curve.high, color=colour, alpha=0.05, lw=0)
    sizes = sorted({size for curve in curves for size in curve.sizes})
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("batch size n")
    over = f"; mean of {cases} cases, their range shaded" if cases > 1 else ""
    axes.set_ylabel(f"scale: gradient ÷ that of {reference}")
    axes.set_title(f"Scale and the exponent of n fitted to it{over}", loc="left", fontsize=7 if wide else 6)
    axes.grid(axis="y", lw=0.3, color="#dddddd")
    axes.set_axisbelow(True)
    ends = [
        (curve.scales[-1], _label(curve, 46 if wide else 30), COLOURS[k % len(COLOURS)])
        for k, curve in enumerate(curves)
    ]
    apart(ends, axes, max(sizes), size)


def _label(curve: Curve, room: int) -> str:
    exponent = "" if curve.exponent is None else f"  n^{curve.exponent + 0.0:.2f}".replace("-0.00", "0.00")
    exponent = exponent.replace("-", "−")
    names = curve.names[0]
    for k, name in enumerate(curve.names[1:], start=1):
        if len(names) + len(name) > room:
            return f"{names} and {len(curve.names) - k} more{exponent}"
        names = f"{names}, {name}"
    return names + exponent
