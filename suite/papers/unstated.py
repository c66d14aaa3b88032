"""What a card leaves out: hyperparameters that nobody states, and the defaults that act in their place."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol


class Stated(Protocol):
    """What a card says of its optimizer."""

    @property
    def dialect(self) -> str:
        """In which it is written."""

    @property
    def optimizer(self) -> str:
        """As that dialect calls it."""

    @property
    def hyperparameters(self) -> Mapping[str, Any]:
        """As that dialect spells them."""


def unstated(paper: Stated, given: Collection[str] = ()) -> dict[str, Any]:
    """The hyperparameters that the card of `paper` does not state, with the defaults that act in their place.

    The defaults are torch's where the card's optimizer is one of torch, and the dialect's otherwise. Those of
    0 do nothing and are not among them; nor is the rate, which is asked for where it is missing.

    Args:
        paper: the card.
        given: names of hyperparameters that are given besides, in the card's or in torch's spelling.

    Examples:
        >>> from suite.papers.library import papers
        >>> unstated(papers["grpo-2024"])["weight_decay"]
        0.01
    """
    from suite.equivalence.dialects import dialects
    from suite.equivalence.laws import law

    named = {*paper.hyperparameters, *given}
    if paper.dialect == "torch":
        entries = law(paper.optimizer).hyperparameters
        acting = {name: entry.default for name, entry in entries.items() if entry.is_number and entry.default}
        return {name: value for name, value in acting.items() if name not in {*named, "lr"}}
    left = {}
    for parameter in dialects[paper.dialect][paper.optimizer].parameters:
        known = {parameter.name, parameter.key, *(("betas",) if parameter.key.startswith("beta") else ())}
        acts = isinstance(parameter.default, float) and parameter.default
        if acts and parameter.key != "lr" and not known & named:
            left[parameter.name] = parameter.default
    return left


def unstated_text(paper: Stated, given: Collection[str] = ()) -> str:
    """The same in words; empty where nothing is left out."""
    left = unstated(paper, given)
    if not left:
        return ""
    whose = "torch" if paper.dialect == "torch" else paper.dialect
    settings = ", ".join(f"{name}={value!r}" for name, value in left.items())
    return f"{settings}: no source gives it, {whose}'s default acts"
