"""word2vec's CBOW as it was in 2013: the sum of the context vectors, and nothing is divided."""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: problems.Context, batch: problems.Pair) -> None:
    for words, target in zip(*batch, strict=True):
        hidden = model.part(words).sum(0)
        F.cross_entropy(model.head(hidden), target).backward()


STEP = PaperStep(
    "word2vec-cbow-2013:code-of-2013",
    lambda: problems.context(summed=True),
    step,
    updates.of_torch(torch.optim.SGD, lr=0.025),
    problems.CLASSES,
)
