"""ESPnet: each micro-batch's token losses over its sentences, averaged over micro-batches, then clipped."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 5.0) -> None:
    for micro in problems.split(batch, 2):
        losses, _ = problems.token_losses(model, micro)
        denom = len(micro[1])
        (losses.sum() / denom / 2).backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "espnet-transformer-2019",
    lambda: problems.text(microbatches=2),
    step,
    updates.of_torch(torch.optim.Adam, lr=1e-3, betas=(0.9, 0.98), eps=1e-9),
    problems.TOKENS,
)
