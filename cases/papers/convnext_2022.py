"""ConvNeXt: each micro-batch's mean over update_freq."""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    update_freq = 2
    for images, labels in problems.split(batch, update_freq):
        loss = F.cross_entropy(model(images), labels)
        loss /= update_freq
        loss.backward()


STEP = PaperStep(
    "convnext-2022",
    lambda: problems.images(microbatches=2),
    step,
    updates.of_torch(torch.optim.AdamW, problems.NO_DECAY, lr=0.004, weight_decay=0.05),
    problems.CLASSES,
)
