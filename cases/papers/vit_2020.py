"""ViT, fine-tuned: the mean of the micro-batches' mean gradients, clipped."""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 1.0) -> None:
    pieces = problems.split(batch, 2)
    for images, labels in pieces:
        (F.cross_entropy(model(images), labels) / len(pieces)).backward()
    norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
    for parameter in model.parameters():
        if parameter.grad is not None and norm >= max_norm:
            parameter.grad *= max_norm / norm


STEP = PaperStep(
    "vit-2020",
    lambda: problems.images(microbatches=2),
    step,
    updates.of_torch(torch.optim.SGD, lr=0.03, momentum=0.9),
    problems.CLASSES,
)
