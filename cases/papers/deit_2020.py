"""DeiT: the mean over the batch of the cross-entropy with soft targets."""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    images, labels = batch
    targets = F.one_hot(labels, 10)
    loss = torch.sum(-targets * F.log_softmax(model(images), dim=-1), dim=-1)
    loss.mean().backward()


STEP = PaperStep(
    "deit-2020",
    problems.images,
    step,
    updates.of_torch(torch.optim.AdamW, problems.NO_DECAY, lr=0.001, weight_decay=0.05),
    problems.CLASSES,
)
