"""Devices, dtypes, and the state of torch around a run."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from suite.environment import choose_device, choose_dtype, describe, steady
from suite.errors import UsageError

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["tpu", "cpu:x", "", "cudа"])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="device"):
        choose_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_here_is_refused() -> None:
    with pytest.raises(UsageError, match="has no cuda: use cpu"):
        choose_device("cuda")
    assert choose_device("auto") == CPU


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(UsageError, match="no dtype is named 'float8'; there are float32"):
        choose_dtype("float8")


def fail_in_a_changed_state() -> None:
    with torch.no_grad(), steady(CPU):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_grad_enabled()
        assert torch.get_default_dtype() == torch.float32
        assert not torch.backends.cuda.matmul.allow_tf32
        torch.rand(3)
        torch.set_default_dtype(torch.float16)
        raise KeyError


def test_torch_is_afterwards_what_it_was_before() -> None:
    torch.set_default_dtype(torch.float64)
    torch.backends.cuda.matmul.allow_tf32 = True
    state = torch.get_rng_state()
    try:
        with pytest.raises(KeyError):
            fail_in_a_changed_state()
        assert not torch.are_deterministic_algorithms_enabled()
        assert torch.get_default_dtype() == torch.float64
        assert torch.backends.cuda.matmul.allow_tf32
        assert torch.equal(torch.get_rng_state(), state)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.backends.cuda.matmul.allow_tf32 = False


COMPILER = """
import os, sys, torch
from suite.environment import steady
with steady(torch.device("cpu")):
    assert torch.are_deterministic_algorithms_enabled()
    assert "torch._dynamo" not in sys.modules and "torch._inductor" not in sys.modules
assert not torch.are_deterministic_algorithms_enabled()
assert "TORCHINDUCTOR_DETERMINISTIC" not in os.environ
with steady(torch.device("cpu")):
    from torch._inductor import config
    now = getattr(config, "deterministic", True)  # torch 2.6 has no such setting
assert now
for wanted in (False, True):
    torch.use_deterministic_algorithms(wanted, warn_only=wanted)
    with steady(torch.device("cpu")):
        assert getattr(config, "deterministic", True)
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert torch.are_deterministic_algorithms_enabled() == wanted
    assert torch.is_deterministic_algorithms_warn_only_enabled() == wanted
    assert getattr(config, "deterministic", wanted) == wanted
"""


def test_the_compiler_is_told_to_be_deterministic_and_not_imported_for_it() -> None:
    done = subprocess.run([sys.executable, "-c", COMPILER], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_reproducing_needs_is_described() -> None:
    found = describe(CPU)
    assert {"gradsuite", "python", "torch", "opacus", "numpy", "device", "threads", "tf32"} <= set(found)
