"""nanoGPT: each micro-batch's token mean over the number of micro-batches, then clipping."""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 1.0) -> None:
    for tokens, targets in problems.split(batch, 2):
        loss = F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())
        (loss / 2).backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "nanogpt",
    lambda: problems.text(microbatches=2),
    step,
    updates.of_torch(torch.optim.AdamW, problems.NO_DECAY, lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1),
    problems.TOKENS,
)
