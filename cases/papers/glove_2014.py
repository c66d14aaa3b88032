"""GloVe without its biases, which are not clipped: one pair a step, half its squared error."""

from torch import nn

from cases.papers import problems
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Triple, max_norm: float = 100.0) -> None:
    weighted_square = problems.count_losses(model, batch)
    (0.5 * weighted_square).sum().backward()
    nn.utils.clip_grad_value_(model.parameters(), max_norm)


STEP = PaperStep("glove-2014", problems.counts, step, None, problems.COUNTS, batch_size=1)
