"""The table of papers: what each computes, what to type into PyTorch in its place, and how that is known."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from suite.algebra.formula import Formula
from suite.algebra.significant import significant
from suite.conventions import conventions
from suite.equivalence.dialects import Translation, scaled, translate
from suite.equivalence.law import Scale
from suite.errors import UsageError, unknown
from suite.papers.hyperparameters import with_rate
from suite.papers.library import papers
from suite.papers.paper import Paper
from suite.papers.source import CodeSource
from suite.report.text_table import Table

PAPER_COLUMNS = ("paper", "convention", "of a plain mean", "type into PyTorch", "cannot be matched", "known")
_SYMBOLS = {
    "n": "batch_size", "K": "micro_batches", "R": "ranks", "Lmax": "max_elements",
    "L": "expected_batch_size", "m_u": "elements", "d": "elements", "T": "elements",
}  # fmt: skip
"""The sizes on a card that symbols of formulas stand for."""
_EVEN = {symbol: Formula.parse(text) for symbol, text in {"V_k": "V/K", "n_k": "n/K", "V_r": "V/R"}.items()}
"""What counts of groups are where groups are even."""
RATE = 0.7310585786300049
"""Stands for a rate that a card does not have, and is a number that nobody types."""


@dataclass(frozen=True)
class PaperRow:
    """What the table says of one paper.

    Args:
        paper: its card.
        convention: its convention, and the weight of a unit as a formula.
        factor: its gradient over that of the mean that people take for it, as a formula and a number.
        typed: the optimizer of PyTorch that takes its steps with that mean.
        lost: what no hyperparameter makes up for.
        known: how it is known.
    """

    paper: Paper
    convention: str
    factor: str
    typed: str
    lost: str
    known: str

    @property
    def cells(self) -> tuple[str, ...]:
        """The row, in the order of `PAPER_COLUMNS`."""
        return (self.paper.name, self.convention, self.factor, self.typed, self.lost, self.known)

    @property
    def sources(self) -> tuple[CodeSource, ...]:
        """The places in code that it was read at."""
        return tuple(dict.fromkeys((*self.paper.sources, *self.paper.optimizer_sources)))


def paper_rows(patterns: Sequence[str] = ()) -> list[PaperRow]:
    """The rows of the papers whose names match any of the glob `patterns`.

    Raises:
        UsageError: A pattern matches nothing.
    """
    return [_row(paper) for paper in papers.match(patterns)]


def paper_table(
    patterns: Sequence[str] = (), columns: Sequence[str] = (), *, caption: str = "", label: str = ""
) -> Table:
    """The table, with the chosen `columns` of `PAPER_COLUMNS` or all of them.

    Raises:
        UsageError: A pattern matches nothing, or there is no such column.
    """
    for name in columns:
        if name not in PAPER_COLUMNS:
            raise unknown("column", name, PAPER_COLUMNS)
    chosen = [PAPER_COLUMNS.index(name) for name in columns or PAPER_COLUMNS]
    wrapped = {"convention": 24, "type into PyTorch": 40, "cannot be matched": 34, "known": 22}
    return Table(
        name="papers",
        caption=caption or "Papers: what their gradient is, and what to type into PyTorch in its place",
        headers=[PAPER_COLUMNS[index] for index in chosen],
        rows=[[row.cells[index] for index in chosen] for row in paper_rows(patterns)],
        widths=wrapped,
        paragraphs=tuple(PAPER_COLUMNS[index] for index in chosen),
        label=label,
        pages=True,
        notes=[
            "Of a plain mean: the paper's gradient over that of the mean that people take for it. Type "
            "into PyTorch: what takes the paper's steps with that mean, for batches and groups of equal "
            "sizes; η is the paper's rate, which is scheduled or not known.",
        ],
    )


def _row(paper: Paper) -> PaperRow:
    factor = plain_factor(paper)
    number = None if factor is None else _number(paper, factor)
    shown = "–" if factor is None else str(factor)
    if number is not None and shown != significant(number, 3):
        shown = f"{shown} = {significant(number, 3)}"
    typed, lost = _typed(paper, number)
    weights = f": {paper.weights}" if paper.weights else ""
    clipped = f"; clips {paper.clipping}" if paper.clipping else ""
    step = paper.step
    gradient = paper.verified
    if step is not None:
        gradient += ", its step agrees" if step.tested else ", has a step"
    return PaperRow(
        paper,
        f"{paper.convention}{weights}{clipped}",
        shown,
        typed,
        " ".join(filter(None, [paper.lost, lost])),
        f"gradient: {gradient}; optimizer: {paper.optimizer_verified}",
    )


def plain_factor(paper: Paper) -> Formula | None:
    """The paper's gradient over that of its port, as a formula; None where it is none."""
    own, port = paper.weights, conventions[paper.port].product
    if not own or port is None or paper.moving is not None:
        return None
    even = _EVEN if paper.formula else _EVEN | {"V_i": Formula.parse("V/n")}
    factor = (Formula.parse(own) / port).replaced(even)
    return factor.replaced({"V": Formula.parse("n")}) if paper.port == "mean" else factor


def _number(paper: Paper, factor: Formula) -> float | None:
    """What the factor is worth with the sizes on the card; None where they do not tell."""
    sizes = {symbol: float(paper.sizes[name]) for symbol, name in _SYMBOLS.items() if name in paper.sizes}
    if "n" in sizes and "elements" in paper.sizes:
        sizes["V"] = sizes["n"] * paper.sizes["elements"]
    value = factor.value(sizes)
    return value if value == value else None


def _typed(paper: Paper, number: float | None) -> tuple[str, str]:
    """The line to type, and what of the optimizer it cannot match."""
    try:
        translation = translate(paper.dialect, paper.optimizer, with_rate(paper, RATE))
        scale = _exact(1 / number) if number else 1
        other = scaled(translation, scale) if number else translation
    except UsageError as error:
        return "–", f"{error}."
    line = _shown(other.python)
    if paper.max_norm is not None:
        line += f"; {_clip(paper, float(scale))}"
    for group in paper.groups:
        line += f"; {group}"
    if paper.moving is not None:
        line += "; on the sum over its moving average"
    elif number is None:
        line += f"; on Σ {paper.weights}·ℓ_u" if paper.weights != "1" else "; on the sum"
    return line, _lost(translation)


def _lost(translation: Translation) -> str:
    if not translation.exact:
        reason = translation.reason.partition(";")[0]
        return f"{reason[0].upper()}{reason[1:]}."
    if translation.instructions:
        return "Exact with what the loop does besides: gradsuite lr --paper says it."
    return ""


def _clip(paper: Paper, scale: float) -> str:
    threshold = significant(paper.max_norm * scale if paper.max_norm is not None else 0.0, 4)
    if paper.clip_over == "all":
        return f"clip_grad_norm_(…, {threshold})"
    if paper.clip_over == "entry":
        return f"clip_grad_value_(…, {threshold})"
    return (
        f"clip {paper.clipping} before the rest" if paper.clip_over != "tensor" else f"clip {paper.clipping}"
    )


def _shown(line: str) -> str:
    """The line with numbers as people write them, and η for the rate that stands in."""

    def number(match: re.Match[str]) -> str:
        value = float(match[0])
        ratio = value / RATE
        if abs(ratio - round(ratio, 9)) < 1e-12 and value != round(value, 6):
            return "η" if ratio == 1 else f"{significant(ratio, 6)}·η"
        return significant(value, 6)

    inside = line.replace("model.parameters()", "…").removeprefix("torch.optim.")
    return re.sub(r"(?<![\w.])\d+\.?\d*(?:e-?\d+)?(?![\w.])", number, inside)


def _exact(scale: float) -> Scale:
    from fractions import Fraction

    near = Fraction(scale).limit_denominator(10**9)
    return near if near and abs(float(near) - scale) <= 1e-15 * scale else scale
