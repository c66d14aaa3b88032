"""GCN: the masked losses over the mean of the mask, averaged over all nodes."""

import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Triple) -> None:
    nodes, labels, mask = batch
    loss = F.cross_entropy(model(nodes), labels, reduction="none")
    mask = mask / mask.mean()
    (loss * mask).mean().backward()


STEP = PaperStep(
    "gcn-2017",
    problems.nodes,
    step,
    updates.by_hand(updates.adam_eps_hat(0.01), part=updates.adam_eps_hat(0.01, l2=5e-4)),
    problems.NODES,
)
