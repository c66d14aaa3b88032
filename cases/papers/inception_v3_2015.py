"""Inception v3: the mean of the main head, plus 0.4 times that of the auxiliary one."""

import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    images, labels = batch
    main, auxiliary = model(images).chunk(2, dim=1)
    (0.4 * F.cross_entropy(auxiliary, labels)).backward(retain_graph=True)
    (1.0 * F.cross_entropy(main, labels)).backward()


STEP = PaperStep(
    "inception-v3-2015",
    lambda: problems.heads((1.0, 0.4)),
    step,
    updates.by_hand(
        updates.rmsprop_root(0.66, 0.9, 1.0, momentum=0.9, l2=0.00004),
        vectors=updates.rmsprop_root(0.66, 0.9, 1.0, momentum=0.9),
    ),
    problems.HEADS,
)
