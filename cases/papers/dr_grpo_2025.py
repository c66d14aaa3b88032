"""Dr. GRPO in Oat: each response's masked sum over a constant, averaged over the responses."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 1.0) -> None:
    for tokens, targets in problems.split(batch, 8):
        pg_losses, mask = problems.token_losses(model, (tokens, targets))
        masked_sum = (pg_losses * mask).sum(1) / 3000
        (masked_sum.mean() / 8).backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "dr-grpo-2025",
    lambda: problems.text(max_elements=3000),
    step,
    updates.of_torch(torch.optim.AdamW, lr=0.000001, betas=(0.9, 0.95), weight_decay=0.0),
    problems.TOKENS,
)
