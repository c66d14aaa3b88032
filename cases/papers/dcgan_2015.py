"""DCGAN's discriminator in PyTorch's examples: a mean over real, then one over fake samples."""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    images, labels = batch
    real, fake = model(images).chunk(2, dim=1)
    errD_real = F.cross_entropy(real, labels)  # noqa: N806
    errD_real.backward(retain_graph=True)
    errD_fake = F.cross_entropy(fake, labels)  # noqa: N806
    errD_fake.backward()


STEP = PaperStep(
    "dcgan-2015",
    problems.heads,
    step,
    updates.of_torch(torch.optim.Adam, lr=0.0002, betas=(0.5, 0.999)),
    problems.HEADS,
)
