"""The hyperparameters of a card as an optimizer takes them: with a rate, and for each group of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suite.equivalence.law import Scale
    from suite.papers.paper import CardGroup, Paper


def with_rate(paper: Paper, rate: float) -> dict[str, Any]:
    """The card's hyperparameters in its dialect's spelling, with `rate` where the card has none."""
    if paper.has_rate:
        return dict(paper.hyperparameters)
    name = "lr"
    if paper.dialect != "torch":
        from suite.equivalence.dialects import dialects

        parameters = dialects[paper.dialect][paper.optimizer].parameters
        name = next(parameter.name for parameter in parameters if parameter.key == "lr")
    return {name: rate, **paper.hyperparameters}


def of_group(
    group: CardGroup, optimizer: str, hyperparameters: Mapping[str, Any], scale: Scale
) -> dict[str, float]:
    """What torch's optimizer takes for a group in place of its own: `lr`, `weight_decay`, or both.

    Args:
        group: of a card.
        optimizer: a name with a law.
        hyperparameters: its own, for gradients that are `scale` times the card's.
        scale: what the gradients are multiplied with.
    """
    from suite.equivalence.equivalent import equivalent
    from suite.equivalence.laws import law

    found: dict[str, float] = {}
    if group.lr_factor != 1:
        found["lr"] = hyperparameters["lr"] * group.lr_factor
    if group.weight_decay is not None and "weight_decay" in law(optimizer).hyperparameters:
        old = {**hyperparameters, "weight_decay": group.weight_decay}
        found["weight_decay"] = equivalent(optimizer, old, scale=scale).hyperparameters["weight_decay"]
    return found
