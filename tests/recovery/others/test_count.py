"""How many public loops there are of each kind: three at least, each from a place of its own."""

from __future__ import annotations

import pytest

from tests.recovery.others import (
    test_advice_of_others,
    test_batches,
    test_checkpoints,
    test_coupled,
    test_denominators,
    test_entries,
    test_experiments,
    test_innocent,
    test_kinds_of_losses,
    test_penalties,
    test_precision_of_others,
    test_random,
)
from tests.recovery.others.kit import Loops

KINDS: tuple[Loops, ...] = (
    test_denominators.LOOPS,
    test_innocent.LOOPS,
    test_experiments.LOOPS,
    test_penalties.LOOPS,
    test_checkpoints.LOOPS,
    test_entries.LOOPS,
    test_kinds_of_losses.CONDITION,
    test_random.LOOPS,
    test_precision_of_others.LOOPS,
    test_kinds_of_losses.LOOPS,
    test_coupled.LOOPS,
    test_batches.LOOPS,
    test_advice_of_others.ADVICE,
    test_advice_of_others.TEXT,
)
"""What `recover` has to say, kind by kind."""


@pytest.mark.parametrize("loops", KINDS, ids=lambda loops: loops.kind)
def test_a_kind_has_three_loops_that_are_discussed_in_public(loops: Loops) -> None:
    places = {loop.source for loop in loops.all}
    assert len(places) >= 3
    assert all(place.startswith("https://github.com/") and place.count("/") == 6 for place in places)


@pytest.mark.parametrize("loops", KINDS, ids=lambda loops: loops.kind)
def test_something_is_held_of_each_loop(loops: Loops) -> None:
    assert all(loop.said for loop in loops.all)


def test_kinds_have_names_of_their_own() -> None:
    assert len({loops.kind for loops in KINDS}) == len(KINDS) == 14
