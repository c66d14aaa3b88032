"""DAPO, from its text: the sum over all tokens of the batch, over their number."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 1.0) -> None:
    losses, mask = problems.token_losses(model, batch)
    (losses[mask].sum() / mask.sum()).backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "dapo-2025",
    problems.text,
    step,
    updates.of_torch(torch.optim.AdamW, lr=0.000001, weight_decay=0.1),
    problems.TOKENS,
)
