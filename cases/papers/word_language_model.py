"""PyTorch's language model example: the token mean, clipped, and a plain step by hand."""

import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 0.25) -> None:
    tokens, targets = batch
    output = F.log_softmax(model(tokens), dim=-1).flatten(0, 1)
    nn.NLLLoss()(output, targets.flatten()).backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "word-language-model",
    problems.text,
    step,
    updates.by_hand(updates.sgd_rate_inside(20.0)),
    problems.TOKENS,
)
