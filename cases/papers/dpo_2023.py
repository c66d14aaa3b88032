"""DPO: summed log-probabilities; the mean over pairs, over the accumulation steps; then clipping."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 10.0) -> None:
    for micro in problems.split(batch, 2):
        losses = problems.preference_losses(model, micro)
        loss = losses.mean()
        (loss / 2).backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "dpo-2023",
    lambda: problems.preferences(microbatches=2),
    step,
    updates.of_torch(torch.optim.RMSprop, lr=5e-7),
    problems.PREFERENCES,
)
