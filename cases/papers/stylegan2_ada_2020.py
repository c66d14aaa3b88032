"""StyleGAN2-ADA, a main phase: each round's mean times the gain 1; rounds are added."""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    gain = 1
    for images, labels in problems.split(batch, 2):
        loss = F.cross_entropy(model(images), labels, reduction="none")
        loss.mean().mul(gain).backward()


STEP = PaperStep(
    "stylegan2-ada-2020",
    lambda: problems.images(microbatches=2),
    step,
    updates.of_torch(torch.optim.Adam, lr=0.002, betas=(0.0, 0.99), eps=1e-8),
    problems.CLASSES,
)
