"""Horovod's optimizer, run with micro-batches; the all-reduce, which needs its library, is answered here."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.conventions.agreement import ROUNDING, by_convention, distance, left_in, network, randn
from tests.frameworks.alone import class_without_its_imports, methods_of

RANK, MICROBATCH = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 0, 1, 1])
BATCH = (randn(6, 4), randn(6, 3, seed=2))


def losses(model: torch.nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """`[samples]` summed over the outputs."""
    return (model(batch[0]) - batch[1]).square().sum(1)


@pytest.mark.parametrize("word", ["horovod:Average", "horovod:Sum"])
@pytest.mark.parametrize("predivide", [1.0, 4.0])
def test_horovod_sums_micro_batches_and_averages_or_sums_ranks(word: str, predivide: float) -> None:
    def allreduce_async_(
        tensor: Tensor, *, op: str, prescale_factor: float, postscale_factor: float, **_: object
    ) -> Callable[[], Tensor]:
        """The part of this rank: its library sums the parts, and divides by the ranks for Average."""
        return lambda: tensor * prescale_factor * postscale_factor / (2 if op == "Average" else 1)

    path, kind = "torch/optimizer.py", "_DistributedOptimizer"
    process_set = SimpleNamespace(included=lambda: True)
    known: dict[str, Any] = {
        "allreduce_async_": allreduce_async_, "Average": "Average", "Adasum": "Adasum", "Sum": "Sum",
        "global_process_set": process_set, "size": lambda: 2, "os": os, "warnings": warnings,
        "contextmanager": contextmanager,
        "_DistributedOptimizer": SimpleNamespace(find_duplicates=lambda _: []),
    }  # fmt: skip
    step = torch.zeros(0)
    for r in range(2):
        model = network()
        optimizer = class_without_its_imports(
            "horovod", path, kind, methods_of("horovod", path, kind), torch.optim.SGD, **known
        )(
            model.parameters(),
            list(model.named_parameters()),
            SimpleNamespace(compress=lambda tensor: (tensor, None), decompress=lambda tensor, _: tensor),
            backward_passes_per_step=2,
            op=word.partition(":")[2],
            gradient_predivide_factor=predivide,
        )
        for k in range(2):
            rows = np.flatnonzero((r == RANK) & (k == MICROBATCH))
            (losses(model, (BATCH[0][rows], BATCH[1][rows])).mean() / 3).backward()
        optimizer.synchronize()
        step = left_in(model) + (step if r else 0)
    columns = {"elements": 3, "rank": RANK, "microbatch": MICROBATCH}
    said = by_convention(word, network(), BATCH, losses, columns, window=2, world_size=2)
    assert distance(step, said) < ROUNDING
