"""Three forum threads on gradients of batches, each claim put to the test.

A thread's module, with its claims in `CLAIMS`, is imported when the thread is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from cases.threads.claim import Claim, Finding
from suite.registry import Registry

PREFIX = "threads/"


@dataclass(frozen=True)
class Thread:
    """A thread of a forum.

    Args:
        name: as people type it, `threads/…`.
        summary: its question.
        source: where it stands.
        module: where its claims are.
    """

    name: str
    summary: str
    source: str
    module: str

    def claims(self) -> tuple[Claim, ...]:
        """Its claims, in the order in which the thread makes them."""
        return import_module(self.module).CLAIMS  # type: ignore[no-any-return]

    def card(self) -> dict[str, Any]:
        """All that a person may want to know of it, for `gradsuite show`."""
        return {"thread": self.name, "summary": self.summary, "source": self.source}


threads: Registry[Thread] = Registry("thread")

threads.add(
    Thread(
        name=PREFIX + "sum-or-average",
        summary="Sum or average of gradients in mini-batch gradient descent?",
        source="stats.stackexchange.com/q/183840",
        module="cases.threads.sum_or_average",
    )
)
threads.add(
    Thread(
        name=PREFIX + "average-gradient",
        summary="How to update a network with the average gradient from a list of losses?",
        source="a question-and-answer page with three code examples, 2025-01-30",
        module="cases.threads.average_gradient",
    )
)
threads.add(
    Thread(
        name=PREFIX + "reduction-methods",
        summary="Why do the gradients of different reduction methods differ in PyTorch?",
        source="datascience.stackexchange.com/q/55151; discuss.pytorch.org/t/49826",
        module="cases.threads.reduction_methods",
    )
)


def measure(thread: Thread, claim: Claim) -> dict[str, Any]:
    """A row of kind `claim`: what was claimed, what was measured, the verdict."""
    finding = claim.measure()
    return {
        "kind": "claim",
        "case": thread.name,
        "claim": claim.name,
        "claimed": claim.says,
        "measured": finding.measured,
        "verdict": finding.verdict,
        "numbers": dict(finding.numbers),
        "note": claim.note,
    }


__all__ = ["PREFIX", "Claim", "Finding", "Thread", "measure", "threads"]
