"""DINO: the mean over samples of each pair of views, averaged; each tensor is clipped."""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 3.0) -> None:
    views, labels = batch
    total, n_loss_terms = torch.zeros(()), 0
    for view in views.unbind(1):
        total = total + F.cross_entropy(model(view), labels)
        n_loss_terms += 1
    (total / n_loss_terms).backward()
    for p in model.parameters():
        if p.grad is not None and (clip_coef := max_norm / (p.grad.norm(2) + 1e-6)) < 1:
            p.grad.mul_(clip_coef)


STEP = PaperStep(
    "dino-2021",
    problems.copies,
    step,
    updates.of_torch(torch.optim.AdamW, problems.NO_DECAY, lr=0.002, weight_decay=0.04),
    problems.VIEWS,
)
