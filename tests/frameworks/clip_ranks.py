"""OpenCLIP's loss on two ranks, each a process under DDP: what `test_papers_run` spawns."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from suite.replication.gradient import BATCHES
from tests.replication.test_steps import step_of

RANKS = 2


class Features(nn.Module):
    """What OpenCLIP's model gives to its loss."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The features of both sides, and the factor of their products."""
        one, other = self.inside.sides
        return one(image), other(text), self.inside.logit_scale


def train(rank: int, folder: str) -> None:
    """Leave the gradient of each batch in a file."""
    from open_clip.loss import ClipLoss

    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    step = step_of("papers/open-clip-2021")
    loss = ClipLoss(rank=rank, world_size=RANKS)
    found = []
    for number in range(BATCHES):
        inside = step.model()
        model = DistributedDataParallel(Features(inside))
        loss(*model(*(half.chunk(RANKS)[rank] for half in step.batch(number)[0]))).backward()
        found.append([parameter.grad for parameter in inside.parameters()])
    if rank == 0:
        torch.save(found, Path(folder) / "gradients.pt")
    distributed.destroy_process_group()
