"""What recovery costs, as a multiple of the gradients of the units that it needs."""

from __future__ import annotations

import statistics

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import cases
import suite
from suite.engines.cost import seconds

ROUNDS = 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_recovery_of_128_units_against_their_gradients(benchmark, dtype: torch.dtype) -> None:
    model = nn.Sequential(
        nn.Linear(64, 900), nn.Tanh(), nn.Linear(900, 1000), nn.Tanh(), nn.Linear(1000, 10)
    ).to(dtype)
    images, classes = cases.data.digits()
    batch = images[:128].to(dtype), classes[:128]

    def losses(model, batch):
        return F.cross_entropy(model(batch[0]), batch[1], reduction="none")

    def step(model, batch):
        losses(model, batch).mean().backward()

    def recovery() -> None:
        assert suite.recover(step, model, batch, losses).convention.name == "mean"

    benchmark.pedantic(recovery, rounds=1, warmup_rounds=1)
    cpu = torch.device("cpu")
    pairs = [
        (seconds(recovery, cpu), seconds(lambda: suite.per_sample_gradients(model, batch, losses), cpu))
        for _ in range(ROUNDS)
    ]
    benchmark.extra_info["parameters"] = sum(p.numel() for p in model.parameters())
    benchmark.extra_info["times the units' gradients"] = statistics.median(a / b for a, b in pairs)
