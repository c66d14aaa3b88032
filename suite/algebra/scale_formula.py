"""A scale as a formula: 32 is `n` where the batch has 32 samples, 0.1 is `1/d` with ten outputs.

Numbers that happen to agree on one batch (n = K = 4) are told apart by the other batches: the formula
of a scale gives it on every batch. Where the formulas of both conventions are known, theirs is tried first.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence

from suite.algebra.formula import Formula

Batches = Sequence[tuple[float, Mapping[str, float]]]
"""Scale and quantities of each batch."""

_EVEN = {
    symbol: Formula.parse(text)
    for symbol, text in {
        "m_u": "V/(n·P)", "V_u": "V/(n·P)", "m_i": "V/n", "V_i": "V/n", "V_t": "V/P",
        "n_k": "n/K", "V_k": "V/K", "n_r": "n/R", "V_r": "V/R",
    }.items()
}  # fmt: skip
"""What the totals of groups are where groups are even; only then can they stand in a scale."""
_PLAIN = {"Σwm": Formula.parse("Σw"), "Σm(w≠0)": Formula.parse("#(w≠0)"), "d": Formula()}
"""What they are where each sample has one element."""


def own_formula(convention: Formula, reference: Formula, batches: Batches) -> Formula | None:
    """The quotient of the formulas of two conventions, if it gives the scale on every batch.

    It is said in the quantities of the batches: `V/n` is `d` where all samples have so many elements.
    """
    if not batches:
        return None
    filled = [(scale, {"Σm": q.get("d", math.nan) * q.get("n", math.nan), **q}) for scale, q in batches]
    total = next((symbol for symbol in "Vd" if all(symbol in q for _, q in batches)), "Σm")
    total = "n·d" if total == "d" else total
    quotient = (convention / reference).replaced(_EVEN)
    quotient = quotient.replaced({"V": Formula.parse(total), "Σm": Formula.parse(total)})
    candidates = sorted(
        {Formula(), quotient, quotient.replaced(_PLAIN)}, key=lambda formula: formula.complexity
    )
    return next((formula for formula in candidates if _fits(formula, filled)), None)


def scale_formula(batches: Batches, names: Collection[str] | None = None) -> Formula | None:
    """The simplest formula that gives the scale on every batch; None where there is none.

    Args:
        batches: scale and quantities of each batch.
        names: the quantities that may stand in it; all where it is None.
    """
    if not batches:
        return None
    known = [name for name in batches[0][1] if names is None or name in names]
    return next((formula for formula in _candidates(known) if _fits(formula, batches)), None)


def _fits(formula: Formula, batches: Batches) -> bool:
    """Whether it gives the scale but for the last digits of a quotient; nothing else is this close."""
    return all(math.isclose(formula.value(known), scale, rel_tol=1e-13) for scale, known in batches)


def _candidates(names: list[str]) -> Iterator[Formula]:
    """Products and quotients of at most two quantities, one alone also with a factor 2."""
    yield Formula()
    for name in ("2", *names):
        yield from (Formula(((name, 1),)), Formula(((name, -1),)))
    for a, b in itertools.product(names, ("2",)):
        yield from _products(a, b)
    for a, b in itertools.combinations(names, 2):
        yield from _products(a, b)


def _products(a: str, b: str) -> Iterator[Formula]:
    for powers in ((1, -1), (-1, 1), (1, 1), (-1, -1)):
        yield Formula(tuple(zip((a, b), powers, strict=True)))
