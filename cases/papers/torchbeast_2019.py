"""TorchBeast: sums over time and batch, clipped at 40."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Triple, max_norm: float = 40.0) -> None:
    gain, square, negentropy = problems.policy_losses(model, batch)
    total_loss = torch.sum(gain) + 0.5 * (0.5 * torch.sum(square)) + 0.0006 * torch.sum(negentropy)
    total_loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "torchbeast-2019",
    lambda: problems.policy((1.0, 0.25, 0.0006)),
    step,
    updates.of_torch(torch.optim.RMSprop, lr=0.00048, alpha=0.99, eps=0.01),
    problems.ACTOR_CRITIC,
)
