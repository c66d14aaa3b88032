"""RetinaNet in Detectron: positives of a GPU's images plus one an image, GPUs averaged."""

from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Triple) -> None:
    gpus = problems.split(batch, 2)
    for images in gpus:
        classes, places = problems.box_losses(model, images)
        fg_num = sum(float(positive.sum()) + 1.0 for positive in images[1])
        ((classes.sum() + places.sum()) / fg_num / len(gpus)).backward()


STEP = PaperStep(
    "retinanet-2017:detectron",
    lambda: problems.boxes("positives and one", ranks=2),
    step,
    updates.by_hand(updates.sgd_rate_inside(0.01, 0.9, 0.0001), biases=updates.sgd_rate_inside(0.02, 0.9)),
    problems.ANCHORS_AND_BOXES,
)
