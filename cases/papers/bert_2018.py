"""BERT on TPUs: each shard's masked mean is clipped by itself; the shards are summed."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 1.0) -> None:
    for shard in problems.split(batch, 2):
        per_example_loss, label_weights = problems.token_losses(model, shard)
        loss = (label_weights * per_example_loss).sum() / (label_weights.sum() + 1e-5)
        gradient = torch.autograd.grad(loss, list(model.parameters()))
        norm = torch.cat([g.flatten() for g in gradient]).norm()
        for p, g in zip(model.parameters(), gradient, strict=True):
            share = g * max_norm / torch.clamp(norm, min=max_norm)
            p.grad = share if p.grad is None else p.grad + share


STEP = PaperStep(
    "bert-2018",
    lambda: problems.text(added=1e-5, ranks=2),
    step,
    updates.by_hand(
        updates.adam_uncorrected(1e-4, weight_decay=0.01), vectors=updates.adam_uncorrected(1e-4)
    ),
    problems.TOKENS,
)
