"""RetinaNet in detectron2: the sum over a moving average of the positives, in its first step."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Triple) -> None:
    classes, places = problems.box_losses(model, batch)
    num_pos_anchors = int(batch[1].sum())
    normalizer = 0.9 * 100 + (1 - 0.9) * max(num_pos_anchors, 1)
    (classes.sum() / normalizer + places.sum() / normalizer).backward()


STEP = PaperStep(
    "retinanet-2017:detectron2",
    lambda: problems.boxes("box"),
    step,
    updates.of_torch(torch.optim.SGD, lr=0.01, momentum=0.9, weight_decay=0.0001),
    problems.ANCHORS_AND_BOXES,
)
