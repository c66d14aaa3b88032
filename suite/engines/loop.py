"""The engine that needs no trust: autograd of each entry of the unreduced losses, one by one."""

from __future__ import annotations

from torch import nn

from suite.engines.unit_gradients import Materialised
from suite.loops.autograd import grad
from suite.loops.batch import Batch
from suite.loops.loop import Losses


def compute(model: nn.Module, batch: Batch, losses: Losses) -> Materialised:
    """The gradients of the units, one backward pass a unit through one forward pass of the batch."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    entries = losses(model, batch).flatten()
    blocks = {name: p.new_zeros(len(entries), *p.shape) for name, p in trained.items()}
    for unit, loss in enumerate(entries):
        gradient = grad(loss, list(trained.values()), keep_graph=True)
        for block, part in zip(blocks.values(), gradient, strict=True):
            block[unit] = part
    return Materialised(blocks)
