"""GNMT of MLPerf: the summed token losses over sentences × iter_size, micro-batch by micro-batch."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 5.0) -> None:
    for tokens, targets in problems.split(batch, 2):
        losses, _ = problems.token_losses(model, (tokens, targets))
        loss = losses.sum()
        loss /= len(targets) * 2
        loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "gnmt-mlperf",
    lambda: problems.text(microbatches=2),
    step,
    updates.of_torch(torch.optim.Adam, lr=1e-3),
    problems.TOKENS,
)
