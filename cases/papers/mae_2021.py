"""MAE: the mean over masked pixels of a micro-batch, over accum_iter."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    accum_iter = 2
    for images, targets in problems.split(batch, accum_iter):
        loss = (model(images) - targets) ** 2
        loss = loss.mean(dim=-1).sum() / len(targets)
        (loss / accum_iter).backward()


STEP = PaperStep(
    "mae-2021",
    lambda: problems.pixels(microbatches=2),
    step,
    updates.of_torch(torch.optim.AdamW, problems.NO_DECAY, lr=0.0024, betas=(0.9, 0.95), weight_decay=0.05),
    problems.MSE,
)
