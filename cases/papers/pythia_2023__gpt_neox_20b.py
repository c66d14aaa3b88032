"""GPT-NeoX-20B: the masked mean of each micro-batch, averaged over micro-batches."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 1.0) -> None:
    for micro in problems.split(batch, 2):
        losses, mask = problems.token_losses(model, micro)
        loss = (losses * mask).sum() / mask.sum()
        (loss / 2).backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "pythia-2023:gpt-neox-20b",
    lambda: problems.text(microbatches=2),
    step,
    updates.of_torch(torch.optim.AdamW, problems.NO_DECAY, lr=0.97e-4, betas=(0.9, 0.95), weight_decay=0.01),
    problems.TOKENS,
)
