"""AlexNet, from its text: the average over the batch; the rate is inside the velocity."""

import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    objective = F.cross_entropy(model(batch[0]), batch[1], reduction="none")
    (objective.sum() / len(objective)).backward()


STEP = PaperStep(
    "alexnet-2012",
    problems.images,
    step,
    updates.by_hand(updates.sgd_rate_inside(0.01, momentum=0.9, weight_decay=0.0005)),
    problems.CLASSES,
)
