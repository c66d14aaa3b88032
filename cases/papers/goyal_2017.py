"""Goyal et al., from their text: each worker divides by the kn of all; the workers are summed."""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    kn = len(batch[0])
    for images, labels in problems.split(batch, 2):
        (F.cross_entropy(model(images), labels, reduction="sum") / kn).backward()


SETTINGS = {"lr": 3.2, "momentum": 0.9, "nesterov": True, "weight_decay": 0.0001}
STEP = PaperStep(
    "goyal-2017",
    lambda: problems.images(ranks=2),
    step,
    updates.of_torch(torch.optim.SGD, {"part": {"weight_decay": 0.0}}, **SETTINGS),
    problems.CLASSES,
)
