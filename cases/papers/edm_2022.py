"""EDM: the sum over pixels and samples, over the images of the GPU."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    gpus = problems.split(batch, 2)
    for noisy, images in gpus:
        loss = (model(noisy) - images) ** 2
        (loss.sum().mul(1.0 / len(images)) / len(gpus)).backward()


STEP = PaperStep(
    "edm-2022",
    lambda: problems.pixels(ranks=2),
    step,
    updates.of_torch(torch.optim.Adam, lr=0.001),
    problems.MSE,
)
