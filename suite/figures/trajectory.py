"""How far two trainings part: the hyperparameters as they were, and the equivalent ones."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from suite.figures.style import BLUE, GREY, ORANGE, height, without_math

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LINES = 4
"""So many trainings with the same remedy are lines of their own."""

STYLES = {
    "unchanged": ("the same hyperparameters", ORANGE, "-"),
    "best constant": ("varying scale: the best constant rate", GREY, (0, (1.2, 1.2))),
    "each step": ("varying scale: a rate each step", "#009E73", (0, (5, 1.5, 1.2, 1.5))),
    "equivalent": ("equivalent hyperparameters", BLUE, (0, (5, 1.5))),
}


@dataclass(frozen=True)
class TrainingPath:
    """How far the weights of two trainings are apart, step by step.

    Args:
        case: what was trained.
        convention: of the one side.
        reference: of the other side.
        optimizer: of both.
        remedy: `equivalent`, `unchanged`, `best constant` or `each step`: the one side's hyperparameters.
        distances: `[steps]` relative; None where the training diverged.
        batch_size: of the batches of both.
    """

    case: str
    convention: str
    reference: str
    optimizer: str
    remedy: str
    distances: tuple[float | None, ...]
    batch_size: int


def draw(figure: Figure, paths: Sequence[TrainingPath]) -> None:
    """A line a training, or the median and range of many, in a panel each optimizer; zeros at the foot."""
    optimizers = list(dict.fromkeys(path.optimizer for path in paths))
    wide = figure.get_figwidth() > 4
    side_by_side = wide and len(optimizers) > 1
    height(figure, 2.9 if wide else 1.75 * len(optimizers) + 0.75)
    shape = (1, len(optimizers)) if side_by_side else (len(optimizers), 1)
    panels = figure.subplots(*shape, sharex=True, sharey=True, squeeze=False).flatten()
    values = [d for path in paths for d in path.distances if d]
    low = min(values, default=1e-16)
    zero = low / 30
    drawn: set[str] = set()
    for panel, optimizer in zip(panels, optimizers, strict=True):
        own = [path for path in paths if path.optimizer == optimizer]
        for remedy, (label, colour, dashes) in STYLES.items():
            lines = [[zero if d == 0 else d for d in p.distances] for p in own if p.remedy == remedy]
            if not lines:
                continue
            drawn.add(label)
            if len(lines) > MOST_LINES:
                lines = [_median(panel, lines, colour)]
            for heights in lines:
                panel.plot(range(1, len(heights) + 1), heights, color=colour, ls=dashes, lw=0.9)
        panel.set_title(without_math(optimizer), loc="left")
    for panel in panels:
        _dress(panel, zero, max(values, default=1.0), any(d == 0 for p in paths for d in p.distances))
    for panel in panels if side_by_side else panels[-1:]:
        panel.set_xlabel("step")
    figure.supylabel("distance of the weights, relative", fontsize=7)
    labels = [label for label, _, _ in STYLES.values() if label in drawn]
    from matplotlib.lines import Line2D

    styles = {label: (colour, dashes) for label, colour, dashes in STYLES.values()}
    keys = [Line2D([], [], color=styles[x][0], ls=styles[x][1], lw=1.4) for x in labels]
    figure.legend(keys, labels, loc="outside lower center", ncols=2 if wide else 1)
    figure.suptitle(_of(paths, int(figure.get_figwidth() * 21)), x=0.01, ha="left", fontsize=5.5)


def _of(paths: Sequence[TrainingPath], columns: int) -> str:
    """Which trainings these are."""
    cases = list(dict.fromkeys(path.case for path in paths))
    several = "; many lines: their median, and their range" if len(paths) > MOST_LINES else ""
    pairs = len({(path.case, path.convention, path.reference) for path in paths})
    sizes = " and ".join(str(size) for size in sorted({path.batch_size for path in paths}))
    of = f"of {', '.join(cases)}, batches of {sizes}"
    text = f"{pairs} pair{'s' * (pairs != 1)} of conventions {of}{several}"
    return without_math(textwrap.fill(text, columns, break_on_hyphens=False))


def _median(panel: Axes, lines: Sequence[Sequence[float | None]], colour: str) -> list[float | None]:
    """The median of the lines at each step, over a band from the least to the largest."""
    steps = range(max(map(len, lines)))
    at = [[line[k] for line in lines if k < len(line)] for k in steps]
    known = [[value for value in values if value is not None] for values in at]
    low, high = ([edge(values) if values else math.nan for values in known] for edge in (min, max))
    panel.fill_between([k + 1 for k in steps], low, high, color=colour, alpha=0.18, lw=0)
    return [median(values) if values else None for values in known]


def _dress(panel: Axes, zero: float, high: float, zeros: bool) -> None:  # noqa: FBT001  whether there are any
    from matplotlib.ticker import MaxNLocator

    panel.set_yscale("log")
    panel.set_ylim(zero / 3, high * 6)
    powers = [10.0**k for k in range(-18, 1, 3) if zero * 8 < 10.0**k <= high * 6]
    labels = [f"10$^{{{round(math.log10(p))}}}$" for p in powers]
    if zeros:
        powers, labels = [zero, *powers], ["0", *labels]
        panel.axhline(zero * 4, lw=0.4, color="#bbbbbb")
    panel.set_yticks(powers, labels)
    panel.minorticks_off()
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.grid(axis="y", lw=0.3, color="#e5e5e5")
    panel.set_axisbelow(True)
