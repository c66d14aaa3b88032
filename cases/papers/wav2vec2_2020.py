"""wav2vec 2.0 in fairseq: summed losses and a penalty times the count, over the count of all ranks."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    sample_size = sum(int(problems.token_losses(model, rank)[1].sum()) for rank in problems.split(batch, 2))
    for rank in problems.split(batch, 2):
        losses, masked = problems.token_losses(model, rank)
        penalty = 0.5 * sum(p.square().sum() for p in model.parameters())
        loss = losses.sum() + 0.1 * penalty * masked.sum()
        (loss / sample_size).backward()


STEP = PaperStep(
    "wav2vec2-2020",
    lambda: problems.with_penalty(problems.text(ranks=2), factor=0.1),
    step,
    updates.of_torch(torch.optim.AdamW, lr=5e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01),
    problems.TOKENS,
)
