"""BYOL: the losses of both views are added, and their sum is averaged over the samples."""

import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    views, labels = batch
    repr_loss = F.cross_entropy(model(views[:, 0]), labels, reduction="none")
    repr_loss = repr_loss + F.cross_entropy(model(views[:, 1]), labels, reduction="none")
    repr_loss.mean().backward()


STEP = PaperStep(
    "byol-2020",
    problems.copies,
    step,
    updates.by_hand(updates.lars(3.2, weight_decay=1.5e-6), vectors=updates.lars(3.2, adapted=False)),
    problems.VIEWS,
)
