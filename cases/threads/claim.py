"""What a claim is: a sentence of a forum thread, put to the test."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Finding:
    """What was measured of a claim, and whether it holds.

    Args:
        measured: the numbers, in one sentence.
        verdict: `holds`, `holds only if …` or `does not hold`.
        numbers: by name, what was measured.
    """

    measured: str
    verdict: str
    numbers: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """A claim of a thread.

    Args:
        name: within its thread.
        says: the claim, in a few words.
        note: what was done to test it.
        measure: puts it to the test.
    """

    name: str
    says: str
    note: str
    measure: Callable[[], Finding]


def claim(says: str) -> Callable[[Callable[[], Finding]], Claim]:
    """The decorated function, which puts it to the test, as a claim; its docstring is the note."""

    def make(measure: Callable[[], Finding]) -> Claim:
        note = " ".join(inspect.cleandoc(measure.__doc__ or "").split())
        return Claim(measure.__name__.replace("_", "-"), says, note, measure)

    return make


def settle(measured: str, under: Mapping[str, bool], **numbers: object) -> Finding:
    """The finding of a claim that was true or false under each of several conditions.

    Args:
        measured: the numbers, in one sentence.
        under: by condition (`the batches have equal sizes`), whether the claim was true there.
        **numbers: what was measured, by name.
    """
    true = [condition for condition, holds in under.items() if holds]
    if len(true) == len(under):
        verdict = "holds"
    elif true:
        verdict = f"holds only if {' or '.join(true)}"
    else:
        verdict = "does not hold"
    return Finding(measured, verdict, numbers)
