"""YOLOv3 in Darknet: sums over boxes and images of all subdivisions, divided by the whole batch."""

from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Triple) -> None:
    for images in problems.split(batch, 2):
        classes, places = problems.box_losses(model, images)
        (classes.sum() + places.sum()).backward()
    for updates_of in model.parameters():
        if updates_of.grad is not None:
            updates_of.grad /= len(batch[0])


STEP = PaperStep(
    "yolov3-2018",
    lambda: problems.boxes("anchors", microbatches=2),
    step,
    updates.by_hand(updates.sgd_darknet(0.001, 0.9, 0.0005), vectors=updates.sgd_darknet(0.001, 0.9, 0.0)),
    problems.ANCHORS_AND_BOXES,
)
