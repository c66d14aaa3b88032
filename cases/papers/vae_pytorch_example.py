"""The VAE of PyTorch's examples: everything is summed over the batch."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    restored, divergence = problems.variational_losses(model, batch)
    bce, kld = restored.sum(), torch.sum(divergence)
    (bce + kld).backward()


STEP = PaperStep(
    "vae-pytorch-example",
    problems.variational,
    step,
    updates.of_torch(torch.optim.Adam, lr=1e-3),
    problems.EVIDENCE,
)
