"""The Annotated Transformer: each micro-batch's sum over its tokens; they are added up."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    for micro in problems.split(batch, 2):
        losses, mask = problems.token_losses(model, micro)
        ntokens = mask.sum()
        loss_node = losses.sum() / ntokens
        loss_node.backward()


STEP = PaperStep(
    "annotated-transformer",
    lambda: problems.text(microbatches=2),
    step,
    updates.of_torch(torch.optim.Adam, lr=1e-3, betas=(0.9, 0.98), eps=1e-9),
    problems.TOKENS,
)
