"""How much memory the streaming engine takes, tensor by tensor, on the five families of the benchmarks."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from suite.engines import engines
from suite.machine.allocations import peak_tensor_bytes
from tests.benchmarks.families import FAMILIES, Family

UNITS = {"mlp": 64, "lenet-groupnorm": 32, "resnet-groupnorm": 16, "gpt": 8, "mlp-10m": 16}
RANK = 2


@pytest.mark.parametrize("family", FAMILIES, ids=[f.name for f in FAMILIES])
def test_streaming_takes_at_most_three_ordinary_passes_and_its_results(family: Family) -> None:
    torch.manual_seed(0)
    units = UNITS[family.name]
    model, batch = family.model(), family.batch(units)
    columns = np.random.default_rng(0).normal(size=(RANK, units))
    idle = [*model.parameters(), *batch]

    def ordinary() -> object:
        return family.losses(model, batch).mean().backward()

    def whole_job() -> object:
        found = engines["streaming"].compute(model, batch, family.losses)
        gram = found.gram()
        return found, gram, found.directions(np.concatenate([columns, 2 * columns]))

    once, _ = peak_tensor_bytes(ordinary, idle)
    model = copy.deepcopy(model)
    model.zero_grad(set_to_none=True)
    idle = [*model.parameters(), *batch]
    most, _ = peak_tensor_bytes(whole_job, idle)
    params = sum(p.numel() for p in model.parameters())
    assert most <= 3 * once + 4 * (units**2 + RANK * params)
