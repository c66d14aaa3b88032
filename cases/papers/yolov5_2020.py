"""YOLOv5: gains times term means times the images of the micro-batch, added up, then clipped."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Triple, max_norm: float = 10.0) -> None:
    for micro in problems.split(batch, 2):
        objects, places = problems.box_losses(model, micro)
        lobj = objects.mean() * 1.0
        lbox = places[micro[1] > 0].mean() * 0.05
        bs = len(micro[0])
        ((lbox + lobj) * bs).backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "yolov5-2020",
    lambda: problems.boxes(weights=(1.0, 0.05), microbatches=2),
    step,
    updates.of_torch(
        torch.optim.SGD, problems.NO_DECAY, lr=0.01, momentum=0.937, weight_decay=0.0005, nesterov=True
    ),
    problems.ANCHORS_AND_BOXES,
)
