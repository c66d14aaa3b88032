"""word2vec's CBOW: the mean of four context vectors forward, the whole error to each of them back."""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: problems.Context, batch: problems.Pair) -> None:
    words, target = batch
    vectors = model.part(words)
    mean, total = vectors.mean(1), vectors.sum(1)
    hidden = total + (mean - total).detach()
    F.cross_entropy(model.head(hidden), target).mul(len(target)).backward()


STEP = PaperStep(
    "word2vec-cbow-2013", problems.context, step, updates.of_torch(torch.optim.SGD, lr=0.05), problems.CLASSES
)
