"""The search for the least example that contradicts a claim, or that a measure calls the worst.

Hypothesis draws, shrinks, keeps what it found in a folder and begins with that the next time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar
from unittest import SkipTest
from urllib.parse import quote

from hypothesis import HealthCheck, Phase, given, settings, target
from hypothesis import seed as seeded
from hypothesis.database import (
    DirectoryBasedExampleDatabase,
    ExampleDatabase,
    InMemoryExampleDatabase,
    ReadOnlyDatabase,
)
from hypothesis.errors import HypothesisException, NoSuchExample
from hypothesis.strategies import SearchStrategy

from suite.errors import UsageError, one_line
from suite.fuzz.target import Target
from suite.strategies.everywhere import everywhere_alike

ROUND = 250
"""Examples between two looks at the clock."""

REPLAY = (Phase.reuse, Phase.shrink)
SEARCH = (Phase.generate, Phase.shrink)
CLIMB = (Phase.generate, Phase.target, Phase.shrink)

T = TypeVar("T")


@dataclass(frozen=True)
class Budget:
    """How long to search.

    Args:
        examples: how many to try.
        seconds: how long to go on, instead; the round that is under way is finished.
    """

    examples: int = 1000
    seconds: float | None = None

    def rounds(self, begin: float) -> Any:
        """The number of examples of each round, until the budget is spent."""
        done = 0
        while self.seconds is not None or done < self.examples:
            size = ROUND if self.seconds is not None else min(ROUND, self.examples - done)
            yield size
            done += size
            if self.seconds is not None and time.monotonic() - begin >= self.seconds:
                return


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
        seed: of the examples; the same one finds the same, wherever the suite is installed.
        folder: where what was found before is kept, and tried first; None to keep nothing.

    Raises:
        UsageError: The folder cannot be used.
    """
    database = database_in(folder, goal.name)
    with everywhere_alike():
        return _search(goal, budget, seed, database)


def _search(goal: Target, budget: Budget, seed: int, database: ExampleDatabase | None) -> Found:
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


def worst(
    measure: Callable[[T], float],
    examples: SearchStrategy[T],
    small: Sequence[SearchStrategy[T]],
    budget: Budget,
    *,
    seed: int = 0,
    folder: Path | None = None,
    name: str = "worst",
) -> tuple[T, float] | None:
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
    with everywhere_alike():
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
        enough = max(kept, best.value * (1 - 1e-3))

        def met(example: T) -> bool:
            return measure(example) >= enough

        for step, (few, database) in enumerate(zip(stages, databases, strict=True)):
            ways: list[tuple[tuple[Phase, ...], tuple[int, int], int]]
            ways = [(REPLAY, (seed, step), 2 * ROUND)]
            # What was climbed to is reached again on the same way, at last.
            last = step == len(stages) - 1
            ways += [(CLIMB, (seed, climb[0]), climb[1])] if last else [(SEARCH, (seed, step), 2 * ROUND)]
            for phases, start, count in ways:
                with suppress(NoSuchExample, SkipTest):
                    database = database or InMemoryExampleDatabase()  # Hypothesis draws otherwise with none
                    least = least_that(met, few, count, start, database, measure if last else None, phases)
                    return least, measure(least)
        return best.example, best.value


class _Best(Generic[T]):
    """The example of the largest measure so far."""

    def __init__(self, measure: Callable[[T], float]) -> None:
        self.measure = measure
        self.value = 0.0
        self.example: T

    def look(self, example: T) -> float:
        """Its measure."""
        value = self.measure(example)
        if value > self.value:
            self.value, self.example = value, example
        return value


def _replay(best: _Best[T], examples: SearchStrategy[T], database: ExampleDatabase | None) -> None:
    """Look at the examples that are kept; they stay there."""

    def none_is_met(example: T) -> bool:
        best.look(example)
        return False

    if database is not None:
        # Hypothesis skips a test that is nothing but replayed where nothing is kept.
        with suppress(NoSuchExample, SkipTest):
            least_that(none_is_met, examples, 2 * ROUND, (0, 0), ReadOnlyDatabase(database), phases=REPLAY)


def _climb(best: _Best[T], examples: SearchStrategy[T], count: int, seed: tuple[int, int]) -> bool:
    """Whether one of `count` examples is better than the best so far."""
    before = best.value
    with suppress(NoSuchExample):
        least_that(lambda _: False, examples, count, seed, InMemoryExampleDatabase(), best.look, CLIMB)
    return best.value > before


class _Met(Exception):  # noqa: N818  not an error: the condition is met
    """Tells Hypothesis that this is an example to shrink and to keep."""


def least_that(
    condition: Callable[[T], bool],
    examples: SearchStrategy[T],
    count: int,
    seed: tuple[int, int],
    database: ExampleDatabase | None,
    measure: Callable[[T], float] | None = None,
    phases: Sequence[Phase] = tuple(Phase),
) -> T:
    """The least example that meets the condition; those that are kept come first.

    `hypothesis.find` would do, but that it keeps nothing where the seed is given.

    Args:
        condition: what is to be met.
        examples: where examples are drawn from.
        count: how many to try.
        seed: of the examples.
        database: where what is found is kept, and what was kept is tried first.
        measure: what to climb towards meanwhile.
        phases: of Hypothesis.

    Raises:
        NoSuchExample: None of `count` does.
    """
    last: list[T] = []

    def look(example: T) -> None:
        if measure is not None:
            target(measure(example))
        if condition(example):
            last[:] = [example]
            raise _Met

    chosen = settings(quiet(count, database), phases=phases)
    test = chosen(seeded(_number(seed))(given(examples)(look)))
    try:
        test()
    except _Met:
        return last[0]
    raise NoSuchExample("none meets the condition")


def quiet(count: int, database: ExampleDatabase | None) -> settings:
    """Settings under which Hypothesis prints nothing and no clock decides."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=False,
        database=database,
        report_multiple_bugs=False,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )


def database_in(folder: Path | None, name: str) -> ExampleDatabase | None:
    """The examples of this name that are kept in `folder`.

    Raises:
        UsageError: It cannot be made, or is a file.
    """
    if folder is None:
        return None
    place = folder / quote(name, safe=" ")
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot keep examples in {folder} ({error.strerror}): choose another --output"
        ) from None
    return DirectoryBasedExampleDatabase(place)


def _number(seed: tuple[int, int]) -> int:
    return seed[0] * 1_000_003 + seed[1]
