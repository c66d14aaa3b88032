"""The claims of a card, put to the test by its step."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from suite.claim import Claim, Finding
from suite.errors import CaseError, UsageError, one_line
from suite.papers.library import papers
from suite.papers.paper import Paper
from suite.recovery import Recovery, recover
from suite.replication.gradient import (
    AGREES,
    BATCHES,
    TORCH_NORM_ADDS,
    UNREACHED,
    WHOLE,
    card_gradient,
    clipped,
    gradient_complaints,
    relative,
)
from suite.replication.optimizer import card_stepper, optimizer_complaints
from suite.replication.step import PaperStep, Stepper

SIDE_BY_SIDE = 20
"""Steps of training side by side."""


def complaints(paper: Paper, step: PaperStep) -> list[str]:
    """What a card says of gradient, clipping, optimizer and groups that its step contradicts."""
    return [*gradient_complaints(paper, step), *optimizer_complaints(paper, step)]


def claims_of(step: PaperStep) -> tuple[Claim, ...]:
    """What the card of a step claims, and what people claim of the port."""
    paper = papers[step.paper]
    clip = f", clipped: {paper.clipping}" if paper.max_norm is not None else ""
    claims = (
        Claim(
            "gradient",
            f"the gradient is {paper.convention}{clip}",
            "The step is run on three real batches; its weights are recovered on the first.",
            lambda: gradient_finding(paper, step),
        ),
        Claim(
            "optimizer",
            f"the optimizer is {paper.dialect}'s {paper.optimizer}",
            "The code's update, written out, and the card's optimizer with its groups take the same steps.",
            lambda: optimizer_finding(paper, step),
        ),
        Claim(
            "port",
            f"{step.port.says} is the same step",
            "The port's gradient is compared with the step's on three real batches.",
            lambda: port_finding(step),
        ),
        Claim(
            "converted",
            "converted hyperparameters make the port take the same steps",
            f"Card and port train side by side for {SIDE_BY_SIDE} steps.",
            lambda: converted_finding(paper, step),
        ),
    )
    return tuple(c for c in claims if step.optimizer is not None or c.name not in ("optimizer", "converted"))


def gradient_finding(paper: Paper, step: PaperStep) -> Finding:
    """The recovered weights, and whether they are the card's."""
    try:
        found: Recovery | None = recovered(step)
    except (UsageError, CaseError) as error:
        found, reason = None, one_line(error)
    against = gradient_complaints(paper, step)
    model, (batch, units) = step.model(), step.batch(0)
    free = {} if step.max_norm is None else {"max_norm": UNREACHED}
    left = step.gradient(model, batch, **free)
    distance = relative(left, card_gradient(paper, step, model, batch, units, UNREACHED))
    if found is None:
        formula = names = ""
        measured = f"not recovered: {reason}"
    elif not found.linear:
        formula = names = ""
        measured = "not recovered: no weights of single samples give it"
    else:
        formula, names = str(found.formula or ""), ", ".join(found.names)
        measured = f"recovered {formula or 'no product'} ({names or 'no convention'})"
    return Finding(
        f"{measured}; {distance:.1g} away from the card's" + "".join(f"; {c}" for c in against),
        "does not hold" if against else "holds",
        {"distance": distance, "formula": formula, "recovered": names},
    )


def recovered(step: PaperStep) -> Recovery:
    """The weights behind the step's gradient on its first batch, without clipping."""
    batch, units = step.batch(0)
    free = {} if step.max_norm is None else {"max_norm": UNREACHED}

    def run(model: nn.Module, batch: Any) -> Any:
        step.step(model, batch, **free)

    return recover(
        run, step.model(), batch, step.built.losses, units=units, regulariser=step.built.regulariser,
        engine="loop",
    )  # fmt: skip


def optimizer_finding(paper: Paper, step: PaperStep) -> Finding:
    """Whether the code's update is the card's optimizer."""
    against = optimizer_complaints(paper, step)
    agrees = "the code's update and the card's optimizer agree to rounding"
    return Finding("; ".join(against) or agrees, "does not hold" if against else "holds")


@dataclass(frozen=True)
class Comparison:
    """The port's gradient against the step's, over the batches.

    Args:
        scales: `[batches]` the multiple of the step's gradient that is nearest to the port's.
        direction: the largest part of the port's gradient that no multiple explains, relative.
    """

    scales: tuple[float, ...]
    direction: float

    @property
    def constant(self) -> bool:
        """Whether one scale holds on all batches, and is all that differs."""
        first = self.scales[0]
        even = all(abs(scale - first) <= AGREES * abs(first) for scale in self.scales)
        return even and self.direction <= AGREES


def against_port(step: PaperStep) -> Comparison:
    """The port against the step, before clipping."""
    scales, rests = [], []
    free = {} if step.max_norm is None else {"max_norm": UNREACHED}
    for number in range(BATCHES):
        model, (batch, _) = step.model(), step.batch(number)
        theirs, port = (
            torch.cat([g.flatten() for g in side])
            for side in (step.gradient(model, batch, **free), step.port_gradient(model, batch))
        )
        scale = float(port @ theirs / (theirs @ theirs))
        scales.append(scale)
        rests.append(float((port - scale * theirs).norm() / port.norm()))
    return Comparison(tuple(scales), max(rests))


def port_finding(step: PaperStep) -> Finding:
    """How far the port is from the step: its scale, and its direction."""
    found = against_port(step)
    low, high = min(found.scales), max(found.scales)
    same = found.direction <= AGREES and abs(low - 1) <= AGREES and abs(high - 1) <= AGREES
    shown = f"{low:.4g}" if found.constant else f"{low:.4g} to {high:.4g}"
    return Finding(
        f"its gradient is {shown} times the step's; {found.direction:.1%} of it in another direction",
        "holds" if same else "does not hold",
        {"scales": list(found.scales), "direction": found.direction},
    )


def converted_finding(paper: Paper, step: PaperStep) -> Finding:
    """Card and port side by side, with converted hyperparameters and with unchanged ones."""
    found = against_port(step)
    scale = _exact(found.scales[0])
    reason = _not_converted(paper)
    if not reason:
        try:
            converted_stepper = card_stepper(paper, scale)
        except UsageError as error:
            reason = one_line(error)
    if reason:
        return Finding(f"not converted: {reason}", "does not hold")
    reference = _trained(paper, step, card_stepper(paper), None)
    converted, unchanged = (
        float((_trained(paper, step, stepper, s) - reference).norm() / reference.norm())
        for stepper, s in ((converted_stepper, float(scale)), (card_stepper(paper), 1.0))
    )
    holds = found.constant and converted <= AGREES + _clip_allowance(paper)
    only = "" if found.constant else ", by the scale of the first batch: no constant one holds on all"
    return Finding(
        f"{converted:.1e} of the way apart after {SIDE_BY_SIDE} steps{only}; {unchanged:.1e} unchanged",
        "holds" if holds else "does not hold",
        {"converted": converted, "unchanged": unchanged, "scale": float(scale)},
    )


def _not_converted(paper: Paper) -> str:
    """Why no constants take the card's steps; empty where some may."""
    if paper.moving is not None:
        return "its denominator moves from step to step"
    if any(group.gradient_factor != 1 for group in paper.groups):
        return "its gradient is another multiple for some parameters"
    if paper.max_norm is not None and paper.clip_over not in WHOLE:
        return "it clips parts of a batch, which the port does not see"
    return ""


def _trained(paper: Paper, step: PaperStep, stepper: Stepper, scale: float | None) -> Tensor:
    """`[params]` the way of the weights: of the step itself, or of the port with a gradient so large."""
    model = step.model()
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    move = stepper(model)
    for number in range(SIDE_BY_SIDE):
        batch, _ = step.batch(number % BATCHES)
        left = step.gradient(model, batch) if scale is None else step.port_gradient(model, batch)
        if scale is not None and paper.max_norm is not None:
            left = clipped(left, paper.clip_over, scale * paper.max_norm)
        for parameter, gradient in zip(model.parameters(), left, strict=True):
            parameter.grad = gradient
        move()
    return torch.cat([p.detach().flatten() for p in model.parameters()]) - before


def _clip_allowance(paper: Paper) -> float:
    """What torch's 1e-6 at a norm may part the two sides by, a step after the other."""
    return 0.0 if paper.max_norm is None else SIDE_BY_SIDE * TORCH_NORM_ADDS / paper.max_norm


def _exact(scale: float) -> Fraction | float:
    """The quotient of small whole numbers that the scale is, or itself."""
    near = Fraction(scale).limit_denominator(10**6)
    return near if near and abs(float(near) - scale) <= 1e-12 * abs(scale) else scale
