"""Latent diffusion: the mean over pixels of each sample, then the mean over samples."""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    noisy, target = batch
    loss = F.mse_loss(target, model(noisy), reduction="none").mean([1])
    loss.mean().backward()


STEP = PaperStep(
    "ldm-2022", problems.pixels, step, updates.of_torch(torch.optim.AdamW, lr=0.000096), problems.MSE
)
