"""PPO in stable-baselines3: the mean of squares times 0.5; clipped at 0.5."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Triple, max_norm: float = 0.5) -> None:
    gain, square, negentropy = problems.policy_losses(model, batch)
    loss = gain.mean() + 0.0 * negentropy.mean() + 0.5 * square.mean()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "ppo-2017:sb3",
    lambda: problems.policy((1.0, 0.5, 0.0)),
    step,
    updates.of_torch(torch.optim.Adam, lr=3e-4, eps=1e-5),
    problems.ACTOR_CRITIC,
)
