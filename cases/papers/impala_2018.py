"""IMPALA: the sums of policy, baseline and entropy losses over time and batch."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Triple) -> None:
    gain, square, negentropy = problems.policy_losses(model, batch)
    total_loss = torch.sum(gain)
    total_loss = total_loss + 0.5 * (0.5 * torch.sum(square))
    total_loss = total_loss + 0.00025 * torch.sum(negentropy)
    total_loss.backward()


STEP = PaperStep(
    "impala-2018",
    lambda: problems.policy((1.0, 0.25, 0.00025)),
    step,
    updates.by_hand(updates.rmsprop_root(0.00048, 0.99, 0.1)),
    problems.ACTOR_CRITIC,
)
