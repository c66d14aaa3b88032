"""Claims put to the test: what people say of gradients of batches, and what is measured of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from suite.registry import Registry

PREFIX = "claims/"
STEP_PREFIX = "papers/"
"""What the names of papers' steps begin with, which are sources of claims too."""
FORMER = "threads/"
"""What the names of sources of claims began with before."""


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


@dataclass(frozen=True)
class ClaimSource:
    """A text that makes claims: a thread of a forum, an issue, a page.

    Args:
        name: as people type it, `claims/…`.
        summary: its question.
        source: where it stands.
        module: where its claims are, as `CLAIMS`; imported when they are measured.
        tested: whether a test of the distribution that it comes with holds what it says.
    """

    name: str
    summary: str
    source: str
    module: str
    tested: bool = False

    def claims(self) -> tuple[Claim, ...]:
        """Its claims, in the order in which the text makes them."""
        return import_module(self.module).CLAIMS  # type: ignore[no-any-return]

    @property
    def files(self) -> tuple[Path, ...]:
        """What its claims depend on besides the code."""
        return ()

    def card(self) -> dict[str, Any]:
        """All that a person may want to know of it, for `gradsuite show`."""
        return {"claims": self.name, "summary": self.summary, "source": self.source}


claim_sources: Registry[ClaimSource] = Registry("source of claims")


def measure_claim(source: ClaimSource, claim: Claim) -> dict[str, Any]:
    """A row of kind `claim`: what was claimed, what was measured, the verdict."""
    finding = claim.measure()
    return {
        "kind": "claim",
        "case": source.name,
        "claim": claim.name,
        "claimed": claim.says,
        "measured": finding.measured,
        "verdict": finding.verdict,
        "numbers": dict(finding.numbers),
        "note": claim.note,
    }


def current_name(name: str) -> str:
    """`name`, or today's where it begins as such names did before: `threads/x` is `claims/x`."""
    return PREFIX + name.removeprefix(FORMER) if name.startswith(FORMER) else name
