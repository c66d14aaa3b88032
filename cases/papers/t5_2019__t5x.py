"""T5 in t5x, fine-tuned: the sum over a constant."""

from torch import nn

from cases.papers import problems
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    losses, weights = problems.token_losses(model, batch)
    total = (losses * weights) / 233472
    total.sum().backward()


STEP = PaperStep("t5-2019:t5x", problems.text, step, None, problems.TOKENS)
