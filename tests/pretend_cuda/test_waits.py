"""How often the host waits for the device: a number that neither samples nor conventions make larger."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch

import suite
from suite.equivalence import equivalent
from suite.equivalence.trajectory import check_training
from suite.running import worker
from tests.pretend_cuda.conftest import Waits, counted

pytestmark = pytest.mark.gpu

MEASURE = worker.measure

RESULTS = 4
"""What a cell fetches, each at once: the Gram matrix, what the check of the engine and what the reference
loops left of the difference, and last the largest entries with all roundings."""

BESIDES = 9
"""Waits of a cell that fetch no result. The losses come in at most six, as loops make their weights on the
host: of the batch, of its micro-batches and ranks, of its samples, then for each of three formats (the one
asked for, bfloat16, TF32) at once. One asks whether the losses are finite, one whether a penalty is, and one
whether a sample alone has the loss that it has in the batch."""


def cells(device: ModuleType, patch: pytest.MonkeyPatch, case: str, size: int, **asked: Any) -> list[Waits]:
    """The waits of each cell of a case."""
    found: list[Waits] = []

    def watched(*given: Any) -> Iterator[dict[str, Any]]:
        with counted(device) as waits:
            rows = list(MEASURE(*given))
        found.append(waits)
        return iter(rows)

    patch.setattr(worker, "measure", watched)
    result = suite.run([case], batch_sizes=[size], device="cuda", prove=0, **asked)
    assert not result.failures
    return found


@pytest.mark.parametrize(
    "case",
    ["cross-entropy-convolution", "cross-entropy-l2", "next-token", "augmented-copies", "mse-plus-l1"],
)
def test_a_cell_waits_for_its_results_and_hardly_for_anything_else(
    device: ModuleType, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    for waits in cells(device, monkeypatch, case, 8):
        assert waits.kinds["copy from the host"] == 0, waits.lines
        assert waits.kinds.total() <= RESULTS + BESIDES, waits.lines


def test_more_samples_and_more_conventions_make_no_more_waits(
    device: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = cells(device, monkeypatch, "cross-entropy-mlp", 4)[0]
    many = cells(device, monkeypatch, "cross-entropy-mlp", 32)[0]
    assert few.kinds == many.kinds
    some = cells(device, monkeypatch, "cross-entropy-mlp", 4, conventions=["mean", "clip-each-unit"])[0]
    assert few.kinds.total() - some.kinds.total() <= 2  # the losses of micro-batches and of samples


def test_a_training_check_waits_a_fixed_number_of_times(device: ModuleType) -> None:
    model = torch.nn.Linear(3, 1).double().cuda()
    x = torch.randn(4, 3, device="cuda", dtype=torch.float64)

    def backward(scale: float):
        def add(model: torch.nn.Module, step: int) -> None:
            (scale * model(x).square().sum()).backward()

        return add

    found = equivalent("SGD", {"lr": 1e-3, "momentum": 0.9}, scale=2)
    waits = []
    for steps in (3, 12):
        with counted(device) as counting:
            check_training(model, backward(1.0), backward(2.0), found, steps=steps)
        waits.append(counting.kinds.total())
    assert waits[0] == waits[1] <= 5
