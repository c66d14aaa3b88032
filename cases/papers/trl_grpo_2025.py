"""TRL's GRPO trainer, loss_type dapo: micro-batch sums over the tokens of the window."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 1.0) -> None:
    for micro in problems.split(batch, 2):
        per_token_loss, mask = problems.token_losses(model, micro)
        normalizer = problems.token_losses(model, batch)[1].sum()
        ((per_token_loss * mask).sum() / normalizer).backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "trl-grpo-2025",
    lambda: problems.text(microbatches=2),
    step,
    updates.of_torch(torch.optim.AdamW, lr=0.000001, weight_decay=0.0),
    problems.TOKENS,
)
