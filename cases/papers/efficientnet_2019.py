"""EfficientNet: a mean of cross-entropies, TensorFlow's RMSProp, and an L2 that norms do not have."""

import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    images, labels = batch
    losses = F.cross_entropy(model(images), labels, reduction="none")
    (losses.sum() / len(labels)).backward()


STEP = PaperStep(
    "efficientnet-2019",
    problems.images,
    step,
    updates.by_hand(
        updates.rmsprop_root(0.128, 0.9, 0.001, momentum=0.9, l2=1e-5),
        part=updates.rmsprop_root(0.128, 0.9, 0.001, momentum=0.9),
    ),
    problems.CLASSES,
)
