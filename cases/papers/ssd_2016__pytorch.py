"""ssd.pytorch: both sums over the positives of the batch."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Triple) -> None:
    classes, places = problems.box_losses(model, batch)
    n_positive = batch[1].sum().item()
    loss_l, loss_c = places.sum(), classes.sum()
    loss_l /= n_positive
    loss_c /= n_positive
    (loss_l + loss_c).backward()


STEP = PaperStep(
    "ssd-2016:pytorch",
    lambda: problems.boxes("positives"),
    step,
    updates.of_torch(torch.optim.SGD, lr=0.001, momentum=0.9, weight_decay=0.0005),
    problems.ANCHORS_AND_BOXES,
)
