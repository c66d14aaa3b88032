"""WGAN-GP's critic: fake and real means, and ten times the mean of a penalty a sample."""

import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    images, labels = batch
    fake, penalty = model(images).chunk(2, dim=1)
    disc_cost = F.cross_entropy(fake, labels)
    disc_cost += 10 * F.cross_entropy(penalty, labels)
    disc_cost.backward()


STEP = PaperStep(
    "wgan-gp-2017",
    lambda: problems.heads((1.0, 10.0)),
    step,
    updates.by_hand(updates.adam_eps_hat(1e-4, 0.0, 0.9)),
    problems.HEADS,
)
