"""In which order a run is carried out: the batches of the cases are planned, then all is measured."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from suite.errors import UsageError
from suite.running.tasks import Item, Row

PROOF_BATCH_SIZE = 8


def proof(cells: Sequence[Item]) -> Item:
    """The proof of a case, at the batch size of its cells that is nearest to 8; without its rates."""
    size = min((cell.batch_size for cell in cells), key=lambda n: abs(n - PROOF_BATCH_SIZE))
    return Item("proof", cells[0].case, size)


def pairs(item: Item, rows: Iterable[Row]) -> list[Item]:
    """The proof of a case as one item a pair of conventions, with the rates that it trains.

    They come of the full batches of its size and of nothing else, so that it makes no difference which
    other items a run, or a part of it, has.
    """
    from suite.report.learning_rates import learning_rates

    size = item.batch_size
    chosen = [
        row
        for row in rows
        if row["kind"] == "discrepancy"
        and (row["case"], row["batch_size"], row["samples"]) == (item.case, size, size)
    ]
    return [
        replace(item, pair=(rate["convention"], rate["reference"]), rates=(rate,))
        for rate in learning_rates(chosen)
        if rate["status"] != "impossible" and rate["factor"] != 1
    ]


class Shard:
    """Part `number` of a run in `count` parts, which together are the whole.

    Items are dealt in turn. The cells that a proof depends on go where the proof goes.

    Args:
        text: `number/count`, from 1.

    Raises:
        UsageError: It is no such thing.
    """

    def __init__(self, text: str = "1/1") -> None:
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(f"--shard is {text!r}: write i/n with i from 1 to n, as in 1/4")
        self.number, self.count = int(match[1]), int(match[2])

    def choose(self, items: Sequence[Item], proofs: Sequence[Item]) -> set[str]:
        """The names of those of the items and proofs that are this part's."""
        proven = {(item.case, item.batch_size) for item in proofs}
        places: dict[object, int] = {}
        chosen = set()
        for item in (*items, *proofs):
            together = (item.case, item.batch_size)
            group: object = together if together in proven and item.batch != "last" else item.name
            place = places.setdefault(group, len(places))
            if place % self.count == self.number - 1:
                chosen.add(item.name)
        return chosen
