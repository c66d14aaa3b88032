"""A scale as a formula: 32 is `n` where the batch has 32 samples, 0.1 is `1/d` with ten outputs.

Numbers that happen to agree on one batch (n = K = 4) are told apart by the other batches: the formula
of a scale is the simplest that gives it on every batch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from suite.algebra.formula import Formula


def scale_formula(batches: Sequence[tuple[float, Mapping[str, float]]]) -> Formula | None:
    """The simplest formula that gives the scale on every batch; None where there is none.

    Args:
        batches: scale and quantities of each batch.
    """
    if not batches:
        return None

    def fits(candidate: Formula) -> bool:
        # The last digits of a quotient of small whole numbers; nothing else is this close.
        return all(math.isclose(candidate.value(known), scale, rel_tol=1e-13) for scale, known in batches)

    return next((c for c in _candidates(list(batches[0][1])) if fits(c)), None)


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
