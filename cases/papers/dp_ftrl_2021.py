"""DP-FTRL without its noise: each sample's gradient is clipped, and all are averaged."""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 1.0) -> None:
    images, labels = batch
    for image, label in zip(images, labels, strict=True):
        loss = F.cross_entropy(model(image), label)
        gradient = torch.autograd.grad(loss, list(model.parameters()))
        norm = torch.cat([g.flatten() for g in gradient]).norm()
        for p, g in zip(model.parameters(), gradient, strict=True):
            share = g * torch.clamp(max_norm / (norm + 1e-6), max=1.0) / len(images)
            p.grad = share if p.grad is None else p.grad + share


STEP = PaperStep(
    "dp-ftrl-2021", problems.images, step, updates.of_torch(torch.optim.SGD, lr=0.4), problems.CLASSES
)
