"""NMT: token losses are summed, and divided by the sentences of the batch; then the whole is clipped."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 5.0) -> None:
    tokens, targets = batch
    losses, _ = problems.token_losses(model, (tokens, targets))
    (losses.sum() / len(targets)).backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep("nmt-2017", problems.text, step, updates.of_torch(torch.optim.SGD, lr=1.0), problems.TOKENS)
