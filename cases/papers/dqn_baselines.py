"""DQN in Baselines: the mean of Huber's losses; each variable is clipped by its own norm."""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 10.0) -> None:
    states, targets = batch
    errors = F.huber_loss(model(states), targets, reduction="none")
    errors.mean().backward()
    for p in model.parameters():
        if p.grad is not None:
            p.grad *= max_norm / torch.clamp(p.grad.norm(), min=max_norm)


STEP = PaperStep(
    "dqn-baselines", problems.huber_values, step, updates.by_hand(updates.adam_eps_hat(5e-4)), problems.HUBER
)
