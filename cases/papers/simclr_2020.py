"""SimCLR: the means of both views' losses are added; all the others of the batch are negatives."""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    logits = model(*batch)
    labels = torch.arange(len(logits))
    loss_a = F.cross_entropy(logits, labels)
    loss_b = F.cross_entropy(logits.T, labels)
    (loss_a + loss_b).backward()


STEP = PaperStep(
    "simclr-2020",
    problems.both_ways,
    step,
    updates.by_hand(updates.lars(4.8, weight_decay=0.000001), vectors=updates.lars(4.8, adapted=False)),
    problems.CONTRAST,
)
