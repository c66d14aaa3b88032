"""The optimizer that a card promises, and whether the code's moves the weights as it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from suite.equivalence.dialects import Translation, dialects, prepare, rescale, scaled, translate
from suite.equivalence.law import Scale
from suite.equivalence.trajectory import optimizer_class
from suite.papers.hyperparameters import of_group, with_rate
from suite.papers.paper import RATES, Paper
from suite.replication import updates
from suite.replication.gradient import AGREES
from suite.replication.step import PaperStep, Stepper, selected

UPDATES_COMPARED = 4
STAND_IN = 1e-3
"""The rate of a card that has none because it is scheduled; its step has it too."""

BY_HAND: Mapping[tuple[str, str], Callable[..., updates.Update]] = {
    ("dqn", "RMSProp"): lambda lr, alpha, eps: updates.rmsprop_root(lr, alpha, eps, start=0.0, centered=True),
    ("tf1", "RMSPropOptimizer"): lambda learning_rate, decay, epsilon, momentum=0.0, centered=False, l2=0.0: (
        updates.rmsprop_root(learning_rate, decay, epsilon, momentum=momentum, centered=centered, l2=l2)
    ),
    ("simclr", "LARS"): lambda learning_rate, weight_decay, adapted=True: updates.lars(
        learning_rate, weight_decay=weight_decay, adapted=adapted
    ),
}
"""Optimizers that torch's cannot be, by dialect and name, written out."""


def optimizer_complaints(paper: Paper, step: PaperStep) -> list[str]:
    """What the card says of the optimizer that its step contradicts; empty where nothing."""
    if step.optimizer is None:
        return []
    mine, theirs = (moved(step, stepper) for stepper in (card_stepper(paper), step.optimizer))
    distance = float((mine - theirs).norm() / theirs.norm())
    if not distance <= AGREES:
        way = f"{distance:.2g} of their way from those of {paper.dialect}'s {paper.optimizer}"
        return [f"after {UPDATES_COMPARED} steps the code's weights are {way}"]
    return []


def moved(step: PaperStep, stepper: Stepper) -> Tensor:
    """`[params]` how far the weights move in a few steps of a stepper with the step's gradient."""
    model = step.model()
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    move = stepper(model)
    for number in range(UPDATES_COMPARED):
        left = step.gradient(model, step.batch(number)[0])
        for parameter, gradient in zip(model.parameters(), left, strict=True):
            parameter.grad = gradient
        move()
    return torch.cat([p.detach().flatten() for p in model.parameters()]) - before


def card_stepper(paper: Paper, scale: Scale = 1) -> Stepper:
    """The card's optimizer with its groups, for gradients `scale` times as large as the card's.

    It is torch's where that is exact, or else the dialect's own, written out.

    Raises:
        UsageError: No hyperparameters of the dialect absorb the scale.
    """
    settings = with_rate(paper, STAND_IN)
    if (paper.dialect, paper.optimizer) not in BY_HAND:
        translation = translate(paper.dialect, paper.optimizer, settings)
        return translated(paper, scaled(translation, scale), scale)
    update = BY_HAND[paper.dialect, paper.optimizer]
    if scale != 1:
        own = rescale(paper.dialect, paper.optimizer, settings, scale)
        settings = {name: own[name] for name in settings}
    groups = {
        g.select: update(**_of_group(paper, g.lr_factor, g.weight_decay, settings)) for g in paper.groups
    }
    return updates.by_hand(update(**settings), **groups)


def translated(paper: Paper, translation: Translation, scale: Scale) -> Stepper:
    """A stepper of the torch optimizer that a translation names, in the card's groups.

    Args:
        paper: the card.
        translation: of its optimizer, for gradients that are `scale` times the card's.
        scale: what the gradients are multiplied with.
    """

    def stepper(model: nn.Module) -> Callable[[], None]:
        rest = dict(model.named_parameters())
        groups: list[dict[str, Any]] = []
        for group in paper.groups:
            other = of_group(group, translation.optimizer, translation.hyperparameters, scale)
            if not other:
                continue  # the optimizer sees none of it
            names = [name for name in selected(model, group.select) if name in rest]
            groups.append({"params": [rest.pop(name) for name in names], **other})
        groups.append({"params": list(rest.values())})
        optimizer = optimizer_class(translation.optimizer)(
            [group for group in groups if group["params"]], **translation.hyperparameters
        )
        steps = 0

        def step() -> None:
            nonlocal steps
            steps += 1
            prepare(optimizer, translation, steps)
            optimizer.step()

        return step

    return stepper


def _of_group(paper: Paper, factor: float, decay: float | None, settings: dict[str, Any]) -> dict[str, Any]:
    rate = next(name for name in settings if name in RATES)
    changed = {rate: settings[rate] * factor}
    if decay is not None:
        parameters = dialects[paper.dialect][paper.optimizer].parameters
        changed |= {p.name: decay for p in parameters if p.key in ("l2", "weight_decay")}
    if paper.optimizer == "LARS":  # what it leaves out has neither a decay nor a rate of its own
        changed["adapted"] = decay != 0
    return settings | changed
