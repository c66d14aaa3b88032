"""T5 in Mesh TensorFlow: the masked sum over all positions, padding counted."""

from torch import nn

from cases.papers import problems
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    losses, weights = problems.token_losses(model, batch)
    denominator = float(batch[1].numel())
    ((losses * weights).sum() / denominator).backward()


STEP = PaperStep("t5-2019", problems.text, step, None, problems.TOKENS)
