"""Hypothesis at work for a search: it shrinks and keeps what it finds, and begins with that the next time."""

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
from hypothesis.errors import NoSuchExample
from hypothesis.strategies import SearchStrategy

from suite.errors import UsageError

ROUND = 250
"""Examples between two looks at the clock."""

_T = TypeVar("_T")


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


class _Met(Exception):  # noqa: N818  not an error: the condition is met
    """Tells Hypothesis that this is an example to shrink and to keep."""


def least_that(
    condition: Callable[[_T], bool],
    examples: SearchStrategy[_T],
    count: int,
    seed: tuple[int, int],
    database: ExampleDatabase | None,
    measure: Callable[[_T], float] | None = None,
    phases: Sequence[Phase] = tuple(Phase),
) -> _T:
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
    last: list[_T] = []

    def look(example: _T) -> None:
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
