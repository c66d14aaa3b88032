"""RLOO in TRL: log-probabilities are summed over a sequence; sequences are averaged."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    per_token_loss, mask = problems.token_losses(model, batch)
    logps = (-per_token_loss * mask).sum(1)
    coef_1 = torch.exp(logps - logps.detach())
    (-coef_1).mean().backward()


STEP = PaperStep("rloo-2024", problems.text, step, None, problems.TOKENS)
