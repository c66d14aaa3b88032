"""DP-SGD without its noise: each sample's gradient is clipped, and their sum divided by the lot."""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 4.0) -> None:
    images, labels = batch
    lot_size = 6
    for image, label in zip(images, labels, strict=True):
        gradient = torch.autograd.grad(F.cross_entropy(model(image), label), list(model.parameters()))
        norm = torch.cat([g.flatten() for g in gradient]).norm()
        for p, g in zip(model.parameters(), gradient, strict=True):
            share = g / torch.clamp(norm / max_norm, min=1.0) / lot_size
            p.grad = share if p.grad is None else p.grad + share


STEP = PaperStep(
    "dp-sgd-2016",
    problems.images,
    step,
    updates.of_torch(torch.optim.SGD, lr=0.1),
    problems.CLASSES,
    expected_batch_size=6,
)
