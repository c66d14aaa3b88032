"""MoCo: the mean cross-entropy of the queries."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    queries, keys = batch
    loss = nn.CrossEntropyLoss()(model(queries), keys)
    loss.backward()


STEP = PaperStep(
    "moco-2019",
    problems.images,
    step,
    updates.of_torch(torch.optim.SGD, lr=0.03, momentum=0.9, weight_decay=1e-4),
    problems.CLASSES,
)
