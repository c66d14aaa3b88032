"""Latent diffusion's autoencoder: pixels and divergences are summed, and divided by the batch."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    nll_loss, kl_loss = problems.variational_losses(model, batch)
    nll_loss = torch.sum(nll_loss) / nll_loss.shape[0]
    kl_loss = torch.sum(kl_loss) / kl_loss.shape[0]
    (nll_loss + 0.000001 * kl_loss).backward()


STEP = PaperStep(
    "ldm-2022:autoencoder",
    lambda: problems.variational((1.0, 1e-6)),
    step,
    updates.of_torch(torch.optim.Adam, lr=0.000108, betas=(0.5, 0.9)),
    problems.EVIDENCE,
)
