"""GSPO in TRL: the mean log-probability of a sequence makes its ratio; sequences are averaged."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    per_token_loss, mask = problems.token_losses(model, batch)
    log_ratio = -(per_token_loss - per_token_loss.detach()).sum(-1) / mask.sum(-1).clamp(min=1.0)
    loss = -torch.exp(log_ratio)
    loss.mean().backward()


STEP = PaperStep("gspo-2025", problems.text, step, None, problems.TOKENS)
