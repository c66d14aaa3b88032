"""A training problem of a few numbers, on which a law is tried before it is believed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from suite.equivalence.trajectory import Backward

PROBE_SAMPLES, INPUTS, OUTPUTS = 12, 6, 3


def probe(scale: float) -> tuple[nn.Module, Backward, Backward]:
    """A small network in float64, a loop on made-up samples, and the loop whose gradients are scaled."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(PROBE_SAMPLES, INPUTS, generator=generator, dtype=torch.float64)
    targets = torch.randn(PROBE_SAMPLES, OUTPUTS, generator=generator, dtype=torch.float64)
    model = nn.Linear(INPUTS, OUTPUTS, dtype=torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 2)

    def loop(factor: float) -> Backward:
        def backward(model: nn.Module, step: int) -> Tensor:
            rows = torch.arange(4) + 4 * (step % 3)
            loss: Tensor = factor * (model(inputs[rows]) - targets[rows]).square().mean()
            loss.backward()
            return loss.detach()

        return backward

    return model, loop(1.0), loop(scale)
