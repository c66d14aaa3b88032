"""The Transformer in fairseq: sums of ranks over the target tokens of all of them."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    ranks = problems.split(batch, 2)
    sample_size = sum(int(problems.token_losses(model, rank)[1].sum()) for rank in ranks)
    for rank in ranks:
        problems.token_losses(model, rank)[0].sum().backward()
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad *= 1.0 / sample_size


STEP = PaperStep(
    "transformer-2017:fairseq",
    lambda: problems.text(ranks=2),
    step,
    updates.of_torch(torch.optim.AdamW, lr=0.0005, betas=(0.9, 0.98), weight_decay=0.0001),
    problems.TOKENS,
)
