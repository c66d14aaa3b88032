"""TRL's GRPO trainer, loss_type grpo: sequence means, averaged, over the accumulation steps."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 1.0) -> None:
    for micro in problems.split(batch, 2):
        per_token_loss, mask = problems.token_losses(model, micro)
        loss = ((per_token_loss * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)).mean()
        (loss / 2).backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "trl-grpo-2025:grpo",
    lambda: problems.text(microbatches=2),
    step,
    updates.of_torch(torch.optim.AdamW, lr=0.000001, weight_decay=0.0),
    problems.TOKENS,
)
