"""Swin: each micro-batch's mean over the accumulation steps, then clipping."""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 5.0) -> None:
    accumulation_steps = 2
    for samples, targets in problems.split(batch, accumulation_steps):
        loss = F.cross_entropy(model(samples), targets)
        loss = loss / accumulation_steps
        loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "swin-2021",
    lambda: problems.images(microbatches=2),
    step,
    updates.of_torch(torch.optim.AdamW, problems.NO_DECAY, lr=0.001, weight_decay=0.05),
    problems.CLASSES,
)
