"""The Transformer in tensor2tensor: numerators and denominators are summed over the shards."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    losses = [problems.token_losses(model, shard) for shard in problems.split(batch, 2)]
    numerator = torch.stack([loss.sum() for loss, _ in losses]).sum()
    denominator = sum(int(weights.sum()) for _, weights in losses)
    (numerator / denominator).backward()


STEP = PaperStep(
    "transformer-2017",
    lambda: problems.text(ranks=2),
    step,
    updates.by_hand(updates.adam_eps_hat(1e-3, 0.9, 0.98, 1e-9)),
    problems.TOKENS,
)
