"""Detectron's RPN: sums over the sampled anchors of a GPU, GPUs averaged."""

from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Triple) -> None:
    gpus = problems.split(batch, 2)
    for images in gpus:
        classes, places = problems.box_losses(model, images)
        scale = 1.0 / len(gpus)
        loss = scale * (classes.sum() + places.sum()) / (problems.ANCHORS * len(images[0]))
        loss.backward()


STEP = PaperStep(
    "mask-rcnn-2017",
    lambda: problems.boxes("anchors", ranks=2),
    step,
    updates.by_hand(updates.sgd_rate_inside(0.02, 0.9, 0.0001), biases=updates.sgd_rate_inside(0.04, 0.9)),
    problems.ANCHORS_AND_BOXES,
)
