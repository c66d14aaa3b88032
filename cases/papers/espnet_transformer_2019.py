"""ESPnet: the token losses of the batch over its sentences."""

from torch import nn

from cases.papers import problems
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    losses, _ = problems.token_losses(model, batch)
    denom = len(batch[1])
    (losses.sum() / denom).backward()


STEP = PaperStep("espnet-transformer-2019", problems.text, step, None, problems.TOKENS)
