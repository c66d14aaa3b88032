"""The search for the least example that a measure calls the worst."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar
from unittest import SkipTest

from hypothesis import Phase
from hypothesis.database import ExampleDatabase, InMemoryExampleDatabase, ReadOnlyDatabase
from hypothesis.errors import NoSuchExample
from hypothesis.strategies import SearchStrategy

from suite.fuzz.examples import ROUND, Budget, database_in, least_that

REPLAY = (Phase.reuse, Phase.shrink)
SEARCH = (Phase.generate, Phase.shrink)
CLIMB = (Phase.generate, Phase.target, Phase.shrink)

NEARLY = 1 - 1e-3
"""How much of the largest measure a lesser example must keep."""
AGAIN = 3
"""How often an example is shrunk, where shrinking climbs."""

_T = TypeVar("_T")


def worst(
    measure: Callable[[_T], float],
    examples: SearchStrategy[_T],
    small: Sequence[SearchStrategy[_T]],
    budget: Budget,
    *,
    seed: int = 0,
    folder: Path | None = None,
    name: str = "worst",
) -> tuple[_T, float] | None:
    """The least example whose measure is, up to a thousandth, the largest that was found.

    Hypothesis climbs towards large measures, and then shrinks what keeps them. What an earlier search kept
    is measured first, and nothing that measures less is returned.

    Args:
        measure: what is to be large; 0 or less where there is nothing to see.
        examples: where examples are drawn from.
        small: the same for small examples, from the smallest on: Hypothesis shrinks one step at a time.
        budget: how long to climb.
        seed: of the examples.
        folder: see `search`.
        name: what kept examples are filed under.

    Returns:
        The example and its measure, or None where no measure is above 0.
    """
    stages = [*small, examples, examples]
    databases = [database_in(folder, f"{name} {step}") for step in range(len(stages))]
    best = _Best(measure)
    for few, database in zip(stages, databases, strict=True):
        _replay(best, few, database)
    kept = best.value
    begin, climb = time.monotonic(), (0, 1)
    for number, size in enumerate(budget.rounds(begin)):
        if best.value >= 1.0:  # there is no more
            break
        if _climb(best, examples, size, (seed, number)):
            climb = number, size
    if best.value <= 0.0:
        return None
    for _ in range(AGAIN):
        enough = max(kept, best.value * NEARLY)
        found = _least(best, enough, list(zip(stages, databases, strict=True)), seed, climb)
        # On its way it may have climbed higher.
        if found is None or found[1] >= best.value * NEARLY:
            return found or (best.example, best.value)
    return best.example, best.value


def _least(
    best: _Best[_T],
    enough: float,
    stages: Sequence[tuple[SearchStrategy[_T], ExampleDatabase | None]],
    seed: int,
    climb: tuple[int, int],
) -> tuple[_T, float] | None:
    """The least example that measures `enough`, from the first stage that has one, and its measure."""
    for step, (examples, database) in enumerate(stages):
        ways: list[tuple[tuple[Phase, ...], tuple[int, int], int]]
        ways = [(REPLAY, (seed, step), 2 * ROUND)]
        # What was climbed to is reached again on the same way, at last.
        last = step == len(stages) - 1
        ways += [(CLIMB, (seed, climb[0]), climb[1])] if last else [(SEARCH, (seed, step), 2 * ROUND)]
        for phases, start, count in ways:
            with suppress(NoSuchExample, SkipTest):
                least = least_that(
                    lambda example: best.look(example) >= enough,
                    examples,
                    count,
                    start,
                    database or InMemoryExampleDatabase(),  # Hypothesis draws otherwise with none
                    best.look if last else None,
                    phases,
                )
                return least, best.look(least)
    return None


class _Best(Generic[_T]):
    """The example of the largest measure so far."""

    def __init__(self, measure: Callable[[_T], float]) -> None:
        self.measure = measure
        self.value = 0.0
        self.example: _T

    def look(self, example: _T) -> float:
        """Its measure."""
        value = self.measure(example)
        if value > self.value:
            self.value, self.example = value, example
        return value


def _replay(best: _Best[_T], examples: SearchStrategy[_T], database: ExampleDatabase | None) -> None:
    """Look at the examples that are kept; they stay there."""

    def none_is_met(example: _T) -> bool:
        best.look(example)
        return False

    if database is not None:
        # Hypothesis skips a test that is nothing but replayed where nothing is kept.
        with suppress(NoSuchExample, SkipTest):
            least_that(none_is_met, examples, 2 * ROUND, (0, 0), ReadOnlyDatabase(database), phases=REPLAY)


def _climb(best: _Best[_T], examples: SearchStrategy[_T], count: int, seed: tuple[int, int]) -> bool:
    """Whether one of `count` examples is better than the best so far."""
    before = best.value
    with suppress(NoSuchExample):
        least_that(lambda _: False, examples, count, seed, InMemoryExampleDatabase(), best.look, CLIMB)
    return best.value > before
