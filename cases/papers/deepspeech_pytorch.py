"""deepspeech.pytorch: the sum of the losses of the utterances, nothing divided."""

import torch
from torch import Tensor, nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep, Port


def step(model: nn.Module, batch: problems.Pair) -> None:
    losses, _ = problems.token_losses(model, batch)
    losses.sum().backward()


def port(model: nn.Module, batch: problems.Pair) -> Tensor:
    losses, mask = problems.token_losses(model, batch)
    return (losses.sum(1) / mask.sum(1)).mean()


STEP = PaperStep(
    "deepspeech-pytorch",
    problems.text,
    step,
    updates.of_torch(torch.optim.AdamW, lr=1.5e-4, weight_decay=1e-5),
    Port("nn.CTCLoss()(logp, targets, …), whose mean divides by lengths", port),
)
