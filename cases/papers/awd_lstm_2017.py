"""AWD-LSTM: the token mean of a chunk, clipped."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 0.25) -> None:
    losses, mask = problems.token_losses(model, batch)
    raw_loss = losses.sum() / mask.sum()
    raw_loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "awd-lstm-2017",
    problems.text,
    step,
    updates.of_torch(torch.optim.SGD, lr=30.0, weight_decay=0.0000012),
    problems.TOKENS,
)
