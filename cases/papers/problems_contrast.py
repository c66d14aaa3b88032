"""Losses that see all the others of the batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

import cases
from cases.papers.problems_common import Pair, problem
from suite.case import Problem
from suite.replication.step import Port


class TwoSides(nn.Module):
    """Features of either half of a digit, and the factor of their products."""

    def __init__(self) -> None:
        super().__init__()
        self.sides = nn.ModuleList([nn.Linear(32, 4), nn.Linear(32, 4)])
        self.logit_scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """`[samples, samples]` how well each left half goes with each right one."""
        one, other = self.sides
        logits: Tensor = self.logit_scale * one(left) @ other(right).T
        return logits


def pairs(**settings: Any) -> Problem:
    """The upper and the lower half of a digit, to be told from those of the others in the batch."""
    upper, lower = cases.data.digits()[0].chunk(2, dim=1)
    return problem(
        model=TwoSides,
        data=(upper, lower),
        losses=contrast,
        columns=lambda _: {"elements": 1},
        **settings,
    )


def contrast(model: nn.Module, batch: Pair) -> Tensor:
    """`[samples]` the mean of the two cross-entropies of each pair, all of the batch being the others."""
    logits = model(*batch)
    labels = torch.arange(len(logits))
    return sum(F.cross_entropy(side, labels, reduction="none") for side in (logits, logits.T)) / 2  # type: ignore[return-value]


def both_ways(**settings: Any) -> Problem:
    """The same pairs, the upper half in search of the lower one and the other way round as two copies."""

    def losses(model: nn.Module, batch: Pair) -> Tensor:
        logits = model(*batch)
        labels = torch.arange(len(logits))
        ways = [F.cross_entropy(side, labels, reduction="none") for side in (logits, logits.T)]
        return torch.stack(ways, 1)

    return replace(pairs(**settings), losses=losses, parts=("a", "b"), part_kind="copies")


def _contrast(model: nn.Module, batch: Pair) -> Tensor:
    return contrast(model, batch).mean()


CONTRAST = Port("(F.cross_entropy(logits, i) + F.cross_entropy(logits.T, i)) / 2", _contrast)
