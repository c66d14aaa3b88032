"""Every convention against every other, once a case: what the rows with the reference do not tell.

Two conventions that are both multiples of the reference are multiples of each other, and their scale
is the quotient of theirs. What is left to measure are the pairs of which one differs from the
reference in direction.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from suite.algebra.discrepancy import Discrepancy, Verdict, compare
from suite.algebra.gram import Gram
from suite.algebra.units import Column

PAIRS_BATCH_SIZE = 8
"""The first full batch of the size nearest to this one is where all pairs are measured."""


@dataclass(frozen=True)
class Pair:
    """How the gradient of one convention is to that of another, in one case.

    Args:
        scale: the multiple of the second nearest to the first; None where there is none.
        residual: what no learning rate removes, relative to the first; 0 where one is a multiple.
    """

    scale: float | None
    residual: float


def pairs(
    names: Sequence[str],
    columns: Mapping[str, Column],
    found: Mapping[tuple[str, str], Discrepancy],
    gram: Gram,
    reference: str,
    *,
    precision: float,
) -> Iterator[dict[str, Any]]:
    """Rows of kind `pair` for the pairs of conventions that no other row tells of.

    Args:
        names: of the conventions that apply.
        columns: `[units]` the coefficients, by name.
        found: the discrepancies that have rows, by convention and reference.
        gram: `[units, units]` the Gram matrix.
        reference: the name of the run's.
        precision: the epsilon of the dtype behind `gram`.
    """
    apart = {name for name in names if not found[name, reference].verdict.proportional}
    for a, b in itertools.combinations(names, 2):
        if not apart & {a, b} or reference in (a, b) or found.keys() & {(a, b), (b, a)}:
            continue
        result = compare(gram, columns[a], columns[b], precision=precision)
        yield {
            "kind": "pair",
            "convention": a,
            "reference": b,
            "scale": result.scale,
            "residual": result.residual,
            "verdict": result.verdict.value,
        }


def table(rows: Iterable[dict[str, Any]], case: str, reference: str) -> dict[tuple[str, str], Pair]:
    """All pairs of conventions of one case, both ways round, at the batch that was chosen for pairs.

    Args:
        rows: of a run.
        case: which case.
        reference: the run's.
    """
    rows = [r for r in rows if r["kind"] in ("discrepancy", "pair") and r["case"] == case]
    cell = _cell(rows)
    rows = [row for row in rows if (row["batch_size"], row["batch"]) == cell]
    known: dict[tuple[str, str], Pair] = {}
    for row in rows:
        residual = row["residual"] if row["verdict"] == Verdict.DIRECTION.value else 0.0
        pair = Pair(row["scale"], residual)
        known[row["convention"], row["reference"]] = pair
        known.setdefault((row["reference"], row["convention"]), _reverse(pair, row.get("cosine")))
    names = {reference} | {row["convention"] for row in rows if row["reference"] == reference}
    for a, b in itertools.product(names, names):
        if a == b:
            known[a, b] = Pair(1.0, 0.0)
        elif (a, b) not in known:
            one, two = known[a, reference], known[b, reference]
            if one.residual == two.residual == 0.0 and one.scale and two.scale:
                known[a, b] = Pair(one.scale / two.scale, 0.0)
    return known


def _reverse(pair: Pair, cosine: float | None) -> Pair:
    """The second against the first: the same angle, and `s' = cos²/s`."""
    if not pair.scale:
        return Pair(None, pair.residual)
    if pair.scale < 0:  # their residual is 1, whatever the angle
        return Pair(cosine**2 / pair.scale if cosine else None, pair.residual)
    return Pair((1 - pair.residual**2) / pair.scale, pair.residual)


def cell_of_pairs(rows: Iterable[dict[str, Any]], case: str) -> tuple[int, str]:
    """The batch of a case, its size and its name, that its pairs of conventions are of.

    Args:
        rows: of a run.
        case: which case.
    """
    return _cell([r for r in rows if r["kind"] in ("discrepancy", "pair") and r["case"] == case])


def _cell(rows: Iterable[dict[str, Any]]) -> tuple[int, str]:
    """The batch that pairs were measured on, or would have been, had there been any to measure."""
    chosen = [row for row in rows if row["kind"] == "pair"] or rows
    return min(
        ((row["batch_size"], row["batch"]) for row in chosen),
        key=lambda cell: (cell[1] != "0", abs(cell[0] - PAIRS_BATCH_SIZE)),
        default=(0, "0"),
    )
