"""OpenRLHF: each rank's masked sum over the tokens of all ranks; ranks are summed."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 1.0) -> None:
    ranks = problems.split(batch, 2)
    batch_num_tokens = sum(int(problems.token_losses(model, rank)[1].sum()) for rank in ranks)
    for rank in ranks:
        loss, loss_mask = problems.token_losses(model, rank)
        ((loss * loss_mask).sum() / batch_num_tokens * len(ranks) / len(ranks)).backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "openrlhf-2024",
    lambda: problems.text(ranks=2),
    step,
    updates.of_torch(torch.optim.AdamW, lr=0.000001),
    problems.TOKENS,
)
