"""OLMo 2: summed losses over all positions of the rank, micro-batches added, ranks averaged."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 1.0) -> None:
    for rank in problems.split(batch, 2):
        losses, _ = problems.token_losses(model, rank)
        (losses.sum() / rank[0].numel() / 2).backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "olmo2-2024",
    lambda: problems.text(ranks=2),
    step,
    updates.of_torch(
        torch.optim.AdamW, {"embeddings": {"weight_decay": 0.0}}, lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1
    ),
    problems.TOKENS,
)
