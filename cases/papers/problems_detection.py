"""Anchors and boxes: two terms that count different things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

import cases
from cases.papers.problems_common import Triple, network, problem
from suite.case import Problem
from suite.replication.step import Port

ANCHORS = 4


def boxes(counts: str = "own", weights: tuple[float, float] = (1.0, 1.0), **settings: Any) -> Problem:
    """The quarters of a digit as anchors: is there much ink, and if so, where is its centre.

    Args:
        counts: the elements of the class and of the box term: their `own`, all `anchors` and the positives;
            `anchors` for both; `positives` for both, or `positives and one` more an image; or those of the
            `box` term alone, none being the class term's.
        weights: of the class and of the box term.
        **settings: of the problem.
    """
    x = cases.data.digits()[0].reshape(-1, 2, 4, 2, 4).transpose(2, 3).reshape(-1, ANCHORS, 16)
    positive = x.sum(2) > 5.5
    centre = (x * torch.linspace(-1, 1, 16, dtype=x.dtype)).sum(2) / x.sum(2).clamp(min=1)

    def columns(batch: Triple) -> Mapping[str, Any]:
        matched = batch[1].sum(1)
        every, none = torch.full_like(matched, ANCHORS), torch.zeros_like(matched)
        both = {
            "own": (every, matched),
            "anchors": (every, every),
            "positives": (matched, matched),
            "positives and one": (matched + 1, matched + 1),
            "box": (none, matched),
        }[counts]
        return {"elements": torch.stack(both, 1)}

    return problem(
        model=lambda: network(64, 2 * ANCHORS),
        data=(x.flatten(1), positive.long(), centre),
        losses=lambda model, batch: torch.stack([t.sum(1) for t in box_losses(model, batch)], 1),
        columns=columns,
        parts=("class", "box"),
        term_weight=weights,
        **settings,
    )


def box_losses(model: nn.Module, batch: Triple) -> tuple[Tensor, Tensor]:
    """`[samples, anchors]` the class loss of each anchor, and the box loss of each positive one."""
    x, positive, centre = batch
    scores, places = model(x).chunk(2, dim=1)
    classes = F.binary_cross_entropy_with_logits(scores, positive.to(scores), reduction="none")
    return classes, F.smooth_l1_loss(places, centre, reduction="none") * positive


def _anchors(model: nn.Module, batch: Triple) -> Tensor:
    classes, places = box_losses(model, batch)
    return classes.mean() + places[batch[1] > 0].mean()


ANCHORS_AND_BOXES = Port("F.binary_cross_entropy_with_logits(…) + F.smooth_l1_loss(…)", _anchors)
