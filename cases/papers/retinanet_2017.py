"""RetinaNet in torchvision: each image's sum over its own positives, then the mean over images."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Triple) -> None:
    losses = []
    for classes, places, positive in zip(*problems.box_losses(model, batch), batch[1], strict=True):
        losses.append((classes.sum() + places.sum()) / max(1, int(positive.sum())))
    (torch.stack(losses).sum() / len(losses)).backward()


STEP = PaperStep(
    "retinanet-2017",
    lambda: problems.boxes("box"),
    step,
    updates.of_torch(torch.optim.SGD, lr=0.01, momentum=0.9, weight_decay=0.0001),
    problems.ANCHORS_AND_BOXES,
)
