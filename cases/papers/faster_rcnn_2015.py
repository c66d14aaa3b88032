"""py-faster-rcnn, RPN: both terms over the labelled anchors, averaged over iter_size images."""

from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Triple) -> None:
    iter_size = 2
    for micro in problems.split(batch, iter_size):
        classes, places = problems.box_losses(model, micro)
        num_examples = classes.numel()
        loss = classes.sum() / num_examples + (places / num_examples).sum()
        (loss / iter_size).backward()


STEP = PaperStep(
    "faster-rcnn-2015",
    lambda: problems.boxes("anchors", microbatches=2),
    step,
    updates.by_hand(
        updates.sgd_rate_inside(0.001, 0.9, 0.0005), biases=updates.sgd_rate_inside(0.002, 0.9, 0.0005)
    ),
    problems.ANCHORS_AND_BOXES,
)
