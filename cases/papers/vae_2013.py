"""The VAE, from its eq. 8 over N: pixels and latents are summed, samples averaged."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.optimizer import STAND_IN
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    restored, divergence = problems.variational_losses(model, batch)
    ((restored + divergence).sum() / len(batch[0])).backward()


STEP = PaperStep(
    "vae-2013",
    problems.variational,
    step,
    updates.of_torch(torch.optim.Adagrad, lr=STAND_IN),
    problems.EVIDENCE,
)
