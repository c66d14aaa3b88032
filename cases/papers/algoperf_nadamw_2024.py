"""AlgoPerf's baseline: summed losses and valid examples of all ranks, before backward()."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    ranks = [problems.token_losses(model, rank) for rank in problems.split(batch, 2)]
    summed_loss = torch.stack([losses.sum() for losses, _ in ranks]).sum()
    n_valid_examples = torch.stack([valid.sum() for _, valid in ranks]).sum()
    (summed_loss / n_valid_examples).backward()


STEP = PaperStep("algoperf-nadamw-2024", lambda: problems.text(ranks=2), step, None, problems.TOKENS)
