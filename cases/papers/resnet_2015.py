"""fb.resnet.torch: the mean of the cross-entropies."""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    images, labels = batch
    logp = F.log_softmax(model(images), dim=1)
    loss = -logp[range(len(labels)), labels].sum() / len(labels)
    loss.backward()


STEP = PaperStep(
    "resnet-2015",
    problems.images,
    step,
    updates.of_torch(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True),
    problems.CLASSES,
)
