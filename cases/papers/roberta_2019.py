"""RoBERTa in fairseq: sums of micro-batches and ranks over the masked tokens of all of them."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    sample_size = 0
    for rank in problems.split(batch, 2):
        losses, masked = problems.token_losses(model, rank)
        losses.sum().backward()
        sample_size += int(masked.sum())
    for parameter in model.parameters():
        assert parameter.grad is not None  # noqa: S101
        parameter.grad *= 1.0 / sample_size


STEP = PaperStep(
    "roberta-2019",
    lambda: problems.text(microbatches=2, ranks=2),
    step,
    updates.of_torch(torch.optim.AdamW, lr=5e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01),
    problems.TOKENS,
)
