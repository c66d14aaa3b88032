"""What runs must have in common: all that is not a cost."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from suite.records.file import COST, read_log

SMALL = Path(__file__).with_name("small.py")


def results(rows: Iterable[dict]) -> list[dict]:
    """The rows as they must be the same in two runs, in their order."""
    return [{k: v for k, v in row.items() if k not in COST} for row in rows if row["kind"] != "environment"]


def multiset(rows: Iterable[dict]) -> list[str]:
    """The same in an order of their own, each as often as it is there."""
    return sorted(json.dumps(row, sort_keys=True) for row in results(rows))


def written(folder: Path) -> list[dict]:
    """All rows of a record as they stand there, those that count twice included."""
    return [row for block in read_log(folder).blocks for row in block.rows]
