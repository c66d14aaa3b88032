"""SAM without its penalty: each replica's gradient where its own took the weights; averaged, clipped."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 5.0) -> None:
    replicas = problems.split(batch, 2)
    for replica in replicas:
        losses = problems.sharpness_losses(model, replica)
        (losses.mean() / len(replicas)).backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "sam-2020",
    lambda: problems.sharpness(ranks=2),
    step,
    updates.of_torch(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.001),
    problems.CLASSES,
)
