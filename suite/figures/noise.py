"""The gradient noise scale of each case: where a larger batch stops to pay."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from suite.algebra.significant import significant
from suite.batch_size.noise import NoiseScale
from suite.figures.style import BLUE, GREY, height, without_math

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(figure: Figure, found: Mapping[str, NoiseScale]) -> None:
    """A bar a case, the largest first; a case whose noise hides the gradient has none."""
    order = sorted(found, key=lambda case: found[case].simple)
    height(figure, 0.62 + 0.165 * len(order))
    axes = figure.add_subplot()
    finite = [found[case].simple for case in order if math.isfinite(found[case].simple)]
    high = max(finite, default=1.0)
    for k, case in enumerate(order):
        noise = found[case]
        if math.isfinite(noise.simple):
            axes.barh(k, noise.simple, height=0.62, color=BLUE)
            axes.text(noise.simple * 1.06, k, significant(noise.simple, 3), va="center", fontsize=6.2)
        else:
            axes.text(
                0.9, k, "its noise hides the gradient", va="center", fontsize=6, color=GREY, style="italic"
            )
    axes.set_xscale("log", base=2)
    axes.set_xlim(min([1.0, *finite]) * 0.8, high * 2)
    ticks = [2.0**k for k in range(int(math.log2(high * 2)) + 1)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(order)), [without_math(case) for case in order])
    axes.tick_params(axis="y", length=0)
    wide = figure.get_figwidth() > 4
    where = ", in samples, at the initial weights, over the batches of the largest size" if wide else ""
    axes.set_xlabel(f"critical batch size: tr Σ / |G|²{where}")
    axes.grid(axis="x", lw=0.3, color="#dddddd")
    axes.set_axisbelow(True)
