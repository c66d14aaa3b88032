"""The search for the least example that contradicts a claim."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis.errors import HypothesisException, NoSuchExample

from suite.errors import one_line
from suite.fuzz.examples import Budget, database_in, least_that
from suite.fuzz.target import Target


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Args:
        example: the least counter-example, or None.
        says: what it contradicts, with numbers; empty where there is none.
        tried: how many examples were looked at, those of shrinking among them.
        seconds: how long that took.
    """

    example: Any
    says: str
    tried: int
    seconds: float


def search(goal: Target, budget: Budget, *, seed: int = 0, folder: Path | None = None) -> Found:
    """The least counter-example to the claim of `goal` that is found within the budget.

    Args:
        goal: what is searched.
        budget: how long.
        seed: of the examples; the same one finds the same in the same environment.
        folder: where what was found before is kept, and tried first; None to keep nothing.

    Raises:
        UsageError: The folder cannot be used.
    """
    database = database_in(folder, goal.name)
    begin, tried = time.monotonic(), 0

    def contradicts(example: Any) -> bool:
        nonlocal tried
        tried += 1
        return bool(judgement(goal, example))

    for number, size in enumerate(budget.rounds(begin)):
        try:
            least = least_that(contradicts, goal.examples, size, (seed, number), database)
        except NoSuchExample:
            continue
        return Found(least, judgement(goal, least), tried, time.monotonic() - begin)
    return Found(None, "", tried, time.monotonic() - begin)


def judgement(goal: Target, example: Any) -> str:
    """What contradicts the claim; an error in the suite itself does."""
    try:
        return goal.judge(example)
    except HypothesisException:
        raise
    except Exception as error:  # noqa: BLE001  whatever it is, it was not to happen
        return f"raised {one_line(error)}"
