"""DiT: the mean over elements, then over the batch."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    noisy, noise = batch
    loss_dict = {"loss": ((noise - model(noisy)) ** 2).mean(dim=1)}
    loss = loss_dict["loss"].mean()
    loss.backward()


STEP = PaperStep(
    "dit-2022",
    problems.pixels,
    step,
    updates.of_torch(torch.optim.AdamW, lr=1e-4, weight_decay=0),
    problems.MSE,
)
