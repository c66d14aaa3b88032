"""What is searched: examples of one kind, and the question whether one of them contradicts a claim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st


@dataclass(frozen=True)
class Target:
    """A claim that is to hold for every example.

    Args:
        name: as people type it; kept examples are filed under it.
        claim: what is to hold, in one line.
        examples: where examples are drawn from.
        judge: what contradicts the claim in an example, with numbers; empty where nothing does.
        python: a runnable snippet that shows it.
    """

    name: str
    claim: str
    examples: st.SearchStrategy[Any]
    judge: Callable[[Any], str]
    python: Callable[[Any], str]
