"""OpenNMT-py: each micro-batch's token losses over the sentences of the whole window."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 5.0) -> None:
    for micro in problems.split(batch, 2):
        losses, _ = problems.token_losses(model, micro)
        (losses.sum() / len(batch[1])).backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "opennmt-py",
    lambda: problems.text(microbatches=2),
    step,
    updates.of_torch(torch.optim.SGD, lr=1.0),
    problems.TOKENS,
)
