"""The pass over a machine with a GPU, where there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests import check_gpu

NO_CUDA = "gradsuite env: this machine, or this build of torch, has no cuda"


def test_without_a_gpu_it_is_one_line_and_nothing_is_begun(tmp_path: Path) -> None:
    command = [sys.executable, check_gpu.__file__, "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    first, last = done.stdout.splitlines()
    assert first.startswith("environment, 2, ")
    assert last.startswith(f"Nothing else is begun: {NO_CUDA}")
    assert [step["step"] for step in json.loads((tmp_path / "summary.json").read_text())] == ["environment"]


def test_each_step_can_be_followed_and_has_a_limit_of_its_own(tmp_path: Path) -> None:
    for quick in (False, True):
        steps = check_gpu.steps("cuda", tmp_path, quick=quick)
        assert len({step.name for step in steps}) == len(steps)
        assert all(5 < step.limit < check_gpu.TOTAL / 3 for step in steps)
