"""Named things and how they are found."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from suite.errors import UsageError
from suite.registry import Registry


@dataclass(frozen=True)
class Thing:
    name: str


@pytest.fixture
def things() -> Registry[Thing]:
    registry: Registry[Thing] = Registry("thing")
    for name in ("sum", "mean", "half-mean"):
        registry.add(Thing(name))
    return registry


def test_globs_choose_in_the_order_of_registration(things: Registry[Thing]) -> None:
    assert [t.name for t in things.match(["*mean"])] == ["mean", "half-mean"]
    assert [t.name for t in things.match(["half-*", "sum"])] == ["sum", "half-mean"]
    assert [t.name for t in things.match()] == things.names


@pytest.mark.parametrize("prefix", ["fault:", "large/"])
def test_names_with_a_prefix_are_asked_for(things: Registry[Thing], prefix: str) -> None:
    name = f"{prefix}sum"
    things.add(Thing(name))
    assert name not in [t.name for t in things.match()]
    assert name not in [t.name for t in things.match(["*sum"])]
    for pattern in (f"{prefix}*", name):
        assert [t.name for t in things.match([pattern])] == [name]


def test_a_misspelt_name_is_answered_with_near_ones(things: Registry[Thing]) -> None:
    with pytest.raises(UsageError, match="no thing is named 'maen': did you mean 'mean'"):
        things["maen"]
    with pytest.raises(UsageError, match="no thing is named 'xyz\\*': there are: half-mean, mean, sum"):
        things.match(["xyz*"])


def test_a_second_thing_of_a_name_is_refused(things: Registry[Thing]) -> None:
    with pytest.raises(UsageError, match="two things are named 'sum'"):
        things.add(Thing("sum"))
