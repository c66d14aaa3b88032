"""Recovered weights, a bar a unit: what each sample's gradient really counted for in a step."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from suite.algebra.significant import significant
from suite.errors import UsageError, one_line
from suite.figures.style import BLUE, GREY, ORANGE, height, without_math

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST_WEIGHT = 1e100
"""No figure has an axis for more, nor has a step such weights."""
_GIVE = "give what `gradsuite recover --json` printed"


@dataclass(frozen=True)
class Weights:
    """What was recovered of one step.

    Args:
        title: above the bars.
        weights: `[units]`; None where a weight cannot be told.
        samples: n.
        expected: the weight that each unit has in the mean.
    """

    title: str
    weights: Sequence[float | None]
    samples: int
    expected: float


def of_card(card: Mapping[str, Any], title: str = "") -> Weights:
    """The weights of `Recovery.card()`, which `gradsuite recover --json` prints.

    Raises:
        UsageError: It is no such card.
    """
    weights = card.get("weights")
    if isinstance(weights, list) and weights and all(w is None for w in weights):
        raise UsageError("the batch determined no weight, so there is none to draw: recover from another")
    if not isinstance(weights, list) or not weights or not all(_number(w) for w in weights):
        raise UsageError(f"no recovered weights: {_GIVE}")
    samples = card.get("samples", len(weights))
    residual = card.get("residual", 0.0)
    if type(samples) is not int or not 0 < samples <= len(weights) or not _number(residual):
        raise UsageError(f"{samples!r} samples for {len(weights)} weights, residual {residual!r}: {_GIVE}")
    return Weights(
        title=title or _title(card),
        weights=[None if w is None or math.isnan(w) else float(w) for w in weights],
        samples=samples,
        expected=1 / samples,
    )


def _title(card: Mapping[str, Any]) -> str:
    if not card.get("linear", True):
        other = (
            f"{card['residual']:.0%} of the gradient" if card.get("residual") is not None else "some of it"
        )
        return f"The nearest weights: {other} is no weighting of the units"
    known = card.get("fault") or card.get("convention")
    return f"The step's weights are those of {known}" if known else "Recovered weights"


def of_claims(rows: Sequence[Mapping[str, Any]]) -> list[Weights]:
    """The weights that the claims of a thread recovered."""
    return [
        of_card(row["numbers"], title=f"{row['case']}: weights of the published gradient")
        for row in rows
        if isinstance(row.get("numbers"), dict) and "weights" in row["numbers"]
    ]


def of_file(path: Path) -> Weights:
    """The weights in a file of JSON.

    Raises:
        UsageError: It cannot be read, or holds no recovered weights.
    """
    if path.exists() and not path.is_file():  # a pipe, whose other end nobody may ever write to
        raise UsageError(f"{path} is no file: {_GIVE}")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(card, ensure_ascii=False).encode()  # half of a character is no text
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {one_line(error)}") from None
    if not isinstance(card, dict):
        raise UsageError(f"{path} holds no recovered weights: {_GIVE}")
    return of_card(card)


def draw(figure: Figure, found: Weights) -> None:
    """A bar a unit in units of 1/n; where most are alike, the others in another colour and named."""
    from matplotlib.ticker import MaxNLocator

    wide = figure.get_figwidth() > 4
    height(figure, 2.1 if wide else 1.9)
    axes = figure.add_subplot()
    shares = [None if w is None else w * found.samples for w in found.weights]
    usual = found.expected * found.samples
    known = [share for share in shares if share is not None]
    common = median(known) if known else usual
    small = 1e-6 * max(abs(common), usual)
    odd = {unit for unit, s in enumerate(shares) if s is not None and abs(s - common) > small}
    odd = odd if len(odd) <= len(shares) / 3 else set()  # all different: none stands out
    top = max([usual, *known]) * 1.18
    many = len(shares) > 40
    for unit, share in enumerate(shares):
        if share is None:
            axes.bar(unit, usual, width=0.8, fill=False, edgecolor=GREY, hatch="xxx", lw=0.5)
            continue
        colour, hatch = (ORANGE, "///") if unit in odd else (BLUE, None)
        axes.bar(unit, share, width=0.8, color=colour, hatch=hatch, lw=0)
        if unit in odd and not many:
            axes.annotate(
                _share(share), (unit, max(share, 0)), xytext=(0, 2), textcoords="offset points",
                ha="center", fontweight="bold", color="#8a3c00",
            )  # fmt: skip
    axes.axhline(usual, color=GREY, lw=0.7, ls=(0, (4, 2)))
    axes.annotate(
        "mean: 1/n each", (1, usual), xycoords=("axes fraction", "data"), xytext=(0, 2),
        textcoords="offset points", ha="right", fontsize=6, color=GREY,
    )  # fmt: skip
    axes.set_xlim(-0.6, len(shares) - 0.4)
    axes.set_ylim(min([0.0, *known]) * 1.1, top)
    axes.set_xlabel("sample" if len(shares) == found.samples else "unit")
    axes.set_ylabel("weight × n")
    step = 1 if not many else math.ceil(len(shares) / 16)
    axes.set_xticks(range(0, len(shares), step))
    if max(known, default=0) < 8:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(without_math(found.title), loc="left", fontsize=7.5 if wide else 6)
    if None in shares:
        axes.annotate("crossed: cannot be told", (1, 1), xycoords="axes fraction", ha="right", fontsize=6)


def _share(share: float) -> str:
    near = round(share)
    if abs(share - near) < 1e-6:
        return "0" if near == 0 else f"{near}/n"
    return f"{significant(share, 2)}/n"


def _number(value: object) -> bool:
    """Whether it is what JSON has for a number, null among it, and fits a figure."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_WEIGHT
