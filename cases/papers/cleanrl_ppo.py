"""PPO in CleanRL: half the mean of squares times 0.5; clipped at 0.5."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Triple, max_norm: float = 0.5) -> None:
    gain, square, negentropy = problems.policy_losses(model, batch)
    v_loss = 0.5 * square.mean()
    loss = gain.mean() - 0.01 * -negentropy.mean() + v_loss * 0.5
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "cleanrl-ppo",
    lambda: problems.policy((1.0, 0.25, 0.01)),
    step,
    updates.of_torch(torch.optim.Adam, lr=2.5e-4, eps=1e-5),
    problems.ACTOR_CRITIC,
)
