"""What only a GPU can show."""

from __future__ import annotations

import pytest
import torch

import suite

pytestmark = pytest.mark.gpu


def test_verdicts_on_the_gpu_are_those_of_the_processor() -> None:
    names = ["mse-several-outputs", "cross-entropy-convolution", "next-token"]
    here, there = (suite.run(names, batch_sizes=[8], device=d).discrepancies for d in ("cpu", "cuda"))
    assert list(here.verdict) == list(there.verdict)
    assert there.scale.to_numpy() == pytest.approx(here.scale.to_numpy(), rel=1e-9)
    assert set(there.device) == {"cuda"}


def test_the_rounding_of_tf32_is_shown_where_the_device_has_it() -> None:
    found = suite.run(["cross-entropy-mlp"], ["sum", "half-mean"], device="cuda").discrepancies
    has = torch.cuda.get_device_capability() >= (8, 0)
    assert ("rounding_tf32" in found) == has


@pytest.mark.parametrize("engine", ["opacus", "torch-func", "loop"])
def test_engines_run_on_the_gpu(engine: str) -> None:
    found = suite.run(["cross-entropy-mlp"], ["sum"], batch_sizes=[8], engine=engine, device="cuda")
    assert set(found.discrepancies.engine) == {engine}
