"""The page of examples: the blocks that need torch alone are run, those of two ranks by two processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed

from tests.watch.runs import batches, network

ROOT = Path(__file__).parents[2]
SECTION = re.compile(
    r"^## (?P<title>.*)\n(?:(?!^## )(?!```).*\n)*```python.*\n(?P<code>(?:(?!```).*\n)*)```", re.M
)


def blocks() -> dict[str, str]:
    """By the title of its section, the first block of each."""
    page = (ROOT / "docs" / "watch-examples.md").read_text(encoding="utf-8")
    return {found["title"]: found["code"] for found in SECTION.finditer(page)}


def done(title: str, **given: Any) -> dict[str, Any]:
    """What a block leaves behind, with what the run has."""
    exec(blocks()[title], given)  # noqa: S102  the page's own code
    return given


def run_of(*sizes: int) -> dict[str, Any]:
    model = network(dtype=torch.float32)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return {"model": model, "optimizer": optimizer, "loader": batches(*sizes, dtype=torch.float32)}


def test_accumulation_is_what_was_expected(capsys) -> None:
    found = done("A loop of your own, with accumulation", **run_of(3, 2, 4, 1))
    assert len(found["audit"].updates) == 2
    assert "mean-of-microbatch-means" in capsys.readouterr().out


def test_a_scaled_loss_is_audited_unscaled() -> None:
    audit = done("GradScaler", **run_of(4, 3))["audit"]
    assert all(update.clipped for update in audit.updates)


@pytest.mark.slow
@pytest.mark.skipif(not distributed.is_available(), reason="this torch has no torch.distributed")
@pytest.mark.parametrize("title", ["DistributedDataParallel", "FSDP2"])
def test_two_ranks_run_the_script(title, tmp_path) -> None:
    script = tmp_path / "train.py"
    script.write_text(blocks()[title])
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone"]
    ran = subprocess.run(
        [*command, "--nproc-per-node", "2", str(script)], cwd=tmp_path, capture_output=True, text=True,
        timeout=300, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "2 updates, 2 audited" in ran.stdout
    assert "mean-of-rank-means" in ran.stdout
