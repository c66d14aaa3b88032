"""Dopamine's DQN: the mean of Huber's losses, and TensorFlow's centered RMSProp."""

import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    states, targets = batch
    loss = F.huber_loss(model(states), targets, reduction="none")
    loss.mean().backward()


STEP = PaperStep(
    "dopamine-dqn",
    problems.huber_values,
    step,
    updates.by_hand(updates.rmsprop_root(0.00025, 0.95, 0.00001, centered=True)),
    problems.HUBER,
)
