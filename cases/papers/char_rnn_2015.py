"""char-rnn: means over the batch, summed over the times; each entry of the gradient is clipped."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 5.0) -> None:
    tokens, targets = batch
    losses, _ = problems.token_losses(model, (tokens, targets))
    for t in range(tokens.shape[1]):
        (losses[:, t].sum() / len(tokens)).backward(retain_graph=True)
    for p in model.parameters():
        if p.grad is not None:
            p.grad.clamp_(-max_norm, max_norm)


STEP = PaperStep(
    "char-rnn-2015",
    problems.text,
    step,
    updates.of_torch(torch.optim.RMSprop, lr=0.002, alpha=0.95),
    problems.TOKENS,
)
