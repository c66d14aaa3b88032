"""The tests on a machine with a GPU: what is not for it runs on the processor."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from suite.machine.environment import choose_device

PROCESS = "import torch; print(torch.cuda.is_available())"


def test_what_is_not_marked_for_a_gpu_finds_none_nor_do_its_processes() -> None:
    assert not torch.cuda.is_available()
    assert choose_device("auto") == torch.device("cpu")
    done = subprocess.run([sys.executable, "-c", PROCESS], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.gpu
def test_what_is_marked_for_a_gpu_finds_it_and_so_do_its_processes() -> None:
    assert choose_device("auto") == torch.device("cuda")
    done = subprocess.run([sys.executable, "-c", PROCESS], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
