"""word2vec's skip-gram: one pair a step, and nothing is divided."""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    centre, context = batch
    for one, other in zip(centre, context, strict=True):
        F.cross_entropy(model(one), other).backward()


STEP = PaperStep(
    "word2vec-skip-gram-2013",
    problems.images,
    step,
    updates.of_torch(torch.optim.SGD, lr=0.025),
    problems.CLASSES,
)
