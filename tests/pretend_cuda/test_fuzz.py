"""The suite's own claims hold on a device: what `gradsuite fuzz` draws is put there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from suite.fuzz import search
from suite.fuzz.examples import Budget
from suite.fuzz.targets import target_named
from suite.loops import batch as batches
from suite.machine.global_state import pinned
from suite.strategies import Problem

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("target", ["engine", "law", "recovery"])
def test_no_counter_example_is_found_on_a_device(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, device, built = Problem.build, torch.device("cuda"), []

    def there(problem: Problem) -> Any:
        model, batch, losses = build(problem)
        built.append(problem)
        return model.to(device), batches.to(batch, device, torch.float64), losses

    monkeypatch.setattr(Problem, "build", there)
    with pinned(device):
        found = search(target_named(target), Budget(examples=15), seed=0, folder=tmp_path)
    assert not found.says, found.says
    assert built
