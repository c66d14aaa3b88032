"""The search for the least example that contradicts a claim, or that a measure calls the worst.

Hypothesis draws, shrinks, keeps what it found in a folder and begins with that the next time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from hypothesis import HealthCheck, Phase, given, settings, target
from hypothesis import seed as seeded
from hypothesis.database import DirectoryBasedExampleDatabase, ExampleDatabase
from hypothesis.errors import HypothesisException, NoSuchExample
from hypothesis.strategies import SearchStrategy

from suite.errors import UsageError, one_line
from suite.fuzz.target import Target

ROUND = 250
"""Examples between two looks at the clock."""

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
        seed: of the examples; the same one finds the same.
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

    Hypothesis climbs towards large measures, and then shrinks what keeps them.

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
    begin, largest = time.monotonic(), 0.0
    for number, size in enumerate(budget.rounds(begin)):
        largest = max(largest, _climb(measure, examples, size, (seed, number)))
        if largest >= 1.0:  # there is no more
            break
    if largest <= 0.0:
        return None
    enough = largest * (1 - 1e-3)
    for step, few in enumerate([*small, examples, examples]):
        try:
            least = least_that(
                lambda example: measure(example) >= enough,
                few, 2 * ROUND, (seed, step), database_in(folder, f"{name} {step}"),
            )  # fmt: skip
        except NoSuchExample:
            continue
        return least, measure(least)
    return None


def _climb(
    measure: Callable[[T], float], examples: SearchStrategy[T], count: int, seed: tuple[int, int]
) -> float:
    """The largest measure of `count` examples."""
    largest = 0.0

    @seeded(_number(seed))
    @settings(quiet(count, None), phases=[Phase.generate, Phase.target])
    @given(examples)
    def step(example: T) -> None:
        nonlocal largest
        value = measure(example)
        target(value)
        largest = max(largest, value)

    step()
    return largest


class _Met(Exception):  # noqa: N818  not an error: the condition is met
    """Tells Hypothesis that this is an example to shrink and to keep."""


def least_that(
    condition: Callable[[T], bool],
    examples: SearchStrategy[T],
    count: int,
    seed: tuple[int, int],
    database: ExampleDatabase | None,
) -> T:
    """The least of the examples that meet the condition; those that are kept come first.

    `hypothesis.find` would do, but that it keeps nothing where the seed is given.

    Raises:
        NoSuchExample: None of `count` does.
    """
    last: list[T] = []

    def look(example: T) -> None:
        if condition(example):
            last[:] = [example]
            raise _Met

    test = settings(quiet(count, database))(seeded(_number(seed))(given(examples)(look)))
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
