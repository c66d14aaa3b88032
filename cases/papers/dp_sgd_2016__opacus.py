"""Opacus itself without its noise: each sample's gradient clipped, the sum over the expected batch."""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import nn

from cases.papers import problems
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 1.0) -> None:
    private = GradSampleModule(model)
    optimizer = DPOptimizer(
        torch.optim.SGD(model.parameters()),
        noise_multiplier=0.0,
        max_grad_norm=max_norm,
        expected_batch_size=6,
    )
    images = batch[0].detach().requires_grad_()  # without, torch warns of Opacus' hooks
    F.cross_entropy(private(images), batch[1]).backward()
    optimizer.pre_step()
    private.to_standard_module()


STEP = PaperStep("dp-sgd-2016:opacus", problems.images, step, None, problems.CLASSES, expected_batch_size=6)
