"""SAC's critic: half the squared error, averaged over the batch."""

import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    observations, targets = batch
    q_losses = 0.5 * F.mse_loss(model(observations), targets, reduction="none").mean(-1)
    (q_losses.sum() / len(targets)).backward()


STEP = PaperStep(
    "sac-2018", problems.values, step, updates.by_hand(updates.adam_eps_hat(3e-4, eps=1e-7)), problems.MSE
)
