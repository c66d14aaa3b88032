"""SSD in Caffe: both sums over the matched boxes of the batch."""

from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Triple) -> None:
    classes, places = problems.box_losses(model, batch)
    matches = batch[1].sum()
    ((places.sum() + classes.sum()) / matches).backward()


STEP = PaperStep(
    "ssd-2016",
    lambda: problems.boxes("positives"),
    step,
    updates.by_hand(updates.sgd_rate_inside(0.001, 0.9, 0.0005)),
    problems.ANCHORS_AND_BOXES,
)
