"""pygcn: the mean over the labelled nodes; all layers are decayed."""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Triple) -> None:
    nodes, labels, mask = batch
    labelled = mask.nonzero()[:, 0]
    output = F.log_softmax(model(nodes), dim=1)
    F.nll_loss(output[labelled], labels[labelled]).backward()


STEP = PaperStep(
    "gcn-2017:pygcn",
    problems.nodes,
    step,
    updates.of_torch(torch.optim.Adam, lr=0.01, weight_decay=5e-4),
    problems.NODES,
)
