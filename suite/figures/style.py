"""What all figures share: widths of journal columns, type sizes, colours, and how a figure is saved."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.errors import UsageError
from suite.figures.labels import place_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAGE_WIDTHS = {"one": 3.3, "two": 6.9}
"""Inches: one column of a two-column page, and both."""

ENDINGS = (".pdf", ".svg", ".png")

# Okabe and Ito's colours, from dark to light, so that they differ in grey too.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

GREY = "#666666"
BLUE, ORANGE = COLOURS[1], COLOURS[2]

_SETTINGS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.1,
    "lines.markersize": 3,
    "hatch.linewidth": 0.4,
    "hatch.color": "#00000055",
    "pdf.fonttype": 42,  # text that editors can edit
    "svg.hashsalt": "gradsuite",  # the same figure is the same file
}


def require() -> None:
    """That matplotlib is there.

    Raises:
        UsageError: It is not.
    """
    try:
        import matplotlib  # noqa: F401  only whether it is there
    except ImportError:
        raise UsageError(
            "figures need matplotlib: pip install matplotlib, or pip install '.[plot]' in gradsuite's "
            "source tree"
        ) from None


def save(path: Path, width: str, draw: Callable[[Figure], None]) -> None:
    """Draw a figure into a file: vector graphics for .pdf and .svg, 300 dots an inch for .png.

    Args:
        path: whose ending says the format.
        width: a key of `PAGE_WIDTHS`.
        draw: puts everything into an empty figure of that width, and sets its height.

    Raises:
        UsageError: The ending is none of `ENDINGS`, matplotlib is missing, or the file cannot be written.
    """
    if path.suffix not in ENDINGS:
        raise UsageError(f"--out is {str(path)!r}: a name that ends in {', '.join(ENDINGS)} is needed")
    if width not in PAGE_WIDTHS:
        raise UsageError(f"the width is {width!r}: one or two columns, {' or '.join(map(repr, PAGE_WIDTHS))}")
    require()
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from suite.machine.write import write

    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(PAGE_WIDTHS[width], PAGE_WIDTHS[width] * 0.62), layout="constrained")
        draw(figure)
        file = io.BytesIO()
        # No dates: the same numbers are the same file.
        dates: dict[str, dict[str, Any]] = {
            ".pdf": {"CreationDate": None, "ModDate": None},
            ".svg": {"Date": None},
            ".png": {},
        }
        figure.savefig(file, format=path.suffix[1:], dpi=300, metadata=dates[path.suffix])
    write(path, file.getvalue())


def without_math(text: str) -> str:
    """`text` as it is: a dollar begins no formula."""
    return text.replace("$", r"\$")


def height(figure: Figure, inches: float) -> None:
    """Give the figure another height."""
    figure.set_size_inches(figure.get_figwidth(), inches)


def apart(ends: list[tuple[float, str, str]], axes: Axes, x: float, size: float) -> None:
    """Labels beside the ends of lines on logarithmic axes, moved apart where they would overlap.

    Args:
        ends: of each line the value, the label and the colour.
        axes: with its final limits and place.
        x: where the lines end, in data units.
        size: of the type, in points.
    """
    from numpy import log10

    low, high = (float(log10(limit)) for limit in axes.get_ylim())
    inches = axes.get_position().height * float(axes.figure.bbox.height) / axes.figure.dpi
    step = size * 1.2 / 72 / inches * (high - low)
    order = sorted(ends)
    places = place_labels([float(log10(value)) for value, _, _ in order], step, low, high)
    for place, (value, label, colour) in zip(places, order, strict=True):
        axes.annotate(
            label,
            (x, value),
            xytext=(1.06, (place - low) / (high - low)),
            textcoords="axes fraction",
            fontsize=size,
            color="#222222",  # a light colour is a line, but no text
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "color": colour, "lw": 0.4, "shrinkA": 0, "shrinkB": 2, "relpos": (0, 0.5)
            },
        )  # fmt: skip
