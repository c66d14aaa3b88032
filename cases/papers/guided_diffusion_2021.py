"""Guided diffusion: the weighted means of the micro-batches are added up."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    for noisy, noise in problems.split(batch, 2):
        losses = {"loss": ((noise - model(noisy)) ** 2).mean(dim=1)}
        weights = torch.ones(len(noise), dtype=noise.dtype)
        loss = (losses["loss"] * weights).mean()
        loss.backward()


STEP = PaperStep(
    "guided-diffusion-2021",
    lambda: problems.pixels(microbatches=2),
    step,
    updates.of_torch(torch.optim.AdamW, lr=1e-4, weight_decay=0.0),
    problems.MSE,
)
