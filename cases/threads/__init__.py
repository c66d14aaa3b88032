"""Three forum threads on gradients of batches, each claim put to the test.

A thread's module, with its claims in `CLAIMS`, is imported when the thread is measured.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cases.threads.claim import Claim, Finding
from suite.registry import Registry

if TYPE_CHECKING:
    from suite.table import Table

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


def measure(thread: Thread) -> Iterator[dict[str, Any]]:
    """Rows of kind `claim`: what was claimed, what was measured, the verdict."""
    for claim in thread.claims():
        finding = claim.measure()
        yield {
            "kind": "claim",
            "case": thread.name,
            "claim": claim.name,
            "claimed": claim.says,
            "measured": finding.measured,
            "verdict": finding.verdict,
            "numbers": dict(finding.numbers),
            "note": claim.note,
        }


def text(rows: list[dict[str, Any]]) -> str:
    """The rows of `measure`, for the terminal."""
    lines = []
    for row in rows:
        if row["case"] not in lines:
            lines += [row["case"], f"{threads[row['case']].summary} ({threads[row['case']].source})"]
        lines += [
            textwrap.fill(f"“{row['claimed']}”", 96, initial_indent="  ", subsequent_indent="  "),
            textwrap.fill(row["measured"], 96, initial_indent="    ", subsequent_indent="    "),
            f"    → {row['verdict']}",
        ]
    return "\n".join(lines)


def table(rows: list[dict[str, Any]]) -> Table:
    """The rows of `measure` as a table, for Markdown and LaTeX."""
    from suite.table import Table

    return Table(
        name="claims",
        caption="Claims of forum threads, put to the test",
        headers=("thread", "claimed", "measured", "verdict"),
        rows=[
            [row["case"].removeprefix(PREFIX), row["claimed"], row["measured"], row["verdict"]]
            for row in rows
        ],
    )


__all__ = ["PREFIX", "Claim", "Finding", "Thread", "measure", "table", "text", "threads"]
