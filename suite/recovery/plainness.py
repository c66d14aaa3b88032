"""Which of several formulas that give the same numbers is the likeliest: the plainest comes first."""

from __future__ import annotations

from suite.algebra.formula import Formula
from suite.algebra.symbols import numeral

COUNTED = 1.2
"""How much rather a formula is made of the units table than of a number that happens to be in the batch."""


def formula_plainness(formula: Formula) -> float:
    """What orders formulas: their complexity, and more for each number that is in the batch alone.

    More still for the entries of a tensor, the size of an axis and distinct values, which everybody has and
    few divide by: 2/n, rather than 1/4 by chance. None for what is counted in a mask that stands in the
    formula too: over its entries, rather than n².
    """
    return formula.complexity + sum(map(doubt, _counted(formula)))


def doubt(name: str) -> float:
    """How much less likely a formula is for this number of the batch in it."""
    added = 0.01 * (" + " in name)  # to a divisor, rather than nothing
    return COUNTED * (1 + (is_of_shape(name) or name.startswith("distinct"))) + added


def _counted(formula: Formula) -> list[str]:
    """The numbers that are in the batch alone, without those of masks that stand in the formula."""
    weighs = [
        name.strip("[").partition(" ")[0] for name in formula.symbols if name.strip("[").startswith("batch")
    ]
    return [n for n in formula.symbols if " " in n and not any(tensor in n for tensor in weighs)]


def is_of_shape(name: str) -> bool:
    """Whether a number is the size of something, which everybody has and few divide by."""
    return name.startswith(("entries of", "size of axis"))


def counts_entries(name: str) -> bool:
    """Whether a number is that of all entries of a tensor, or happens to be as large."""
    return name.startswith("entries of batch") or "or the entries of batch" in name


def is_weight(formula: Formula) -> bool:
    """Whether a number of few digits stands in it, as people weigh terms with: 0.3."""
    return any("." in name for name in formula.symbols if numeral(name) is not None)
