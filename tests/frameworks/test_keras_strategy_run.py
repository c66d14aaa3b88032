"""Keras under TensorFlow's MirroredStrategy, run: two replicas with batches of other sizes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.conventions.agreement import by_convention, distance, network, randn

for package in ("keras", "tensorflow"):
    pytest.importorskip(
        package, reason=f"{package} is not installed: the tox environment `tensorflow` has it"
    )

ROUNDING = 16 * torch.finfo(torch.float32).eps
"""Keras has the rate in float32."""
BATCH = (randn(5, 4), randn(5, 3, seed=2))


def losses(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """`[samples]` summed over the outputs."""
    return (model(batch[0]) - batch[1]).square().sum(1)


def test_replicas_of_keras_are_averaged_whatever_their_sizes(tmp_path: Path) -> None:
    file = tmp_path / "step.npz"
    weights = {f"weight{k}": p.detach().numpy() for k, p in enumerate(network().parameters())}
    np.savez(file, inputs=BATCH[0].numpy(), targets=BATCH[1].numpy(), **weights)
    script = Path(__file__).with_name("keras_replicas.py")
    done = subprocess.run(
        [sys.executable, script, file],
        env=os.environ | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    columns = {"elements": 3, "rank": [0, 0, 0, 1, 1]}
    said = by_convention("keras:strategy", network(), BATCH, losses, columns, world_size=2)
    found = torch.from_numpy(np.load(file)["moves"])
    assert distance(found, said) < ROUNDING
    whole = by_convention("element-mean", network(), BATCH, losses, {"elements": 3})
    assert distance(found, whole) > 0.01
