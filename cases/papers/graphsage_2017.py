"""GraphSAGE, supervised: the mean over nodes; each entry of the gradient is clipped."""

import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 5.0) -> None:
    nodes, labels = batch
    F.cross_entropy(model(nodes), labels).backward()
    for p in model.parameters():
        if p.grad is not None:
            p.grad.clamp_(-max_norm, max_norm)


STEP = PaperStep(
    "graphsage-2017", problems.images, step, updates.by_hand(updates.adam_eps_hat(0.01)), problems.CLASSES
)
