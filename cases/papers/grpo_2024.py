"""GRPO, from its eq. 3: each output's mean over its tokens, then the mean over the outputs."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    losses, mask = problems.token_losses(model, batch)
    outputs = [loss[there].sum() / there.sum() for loss, there in zip(losses, mask, strict=True)]
    (torch.stack(outputs).sum() / len(outputs)).backward()


STEP = PaperStep("grpo-2024", problems.text, step, None, problems.TOKENS)
