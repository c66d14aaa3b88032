"""Devices, dtypes, and the state of torch around a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from suite import environment
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


def test_what_reproducing_needs_is_described() -> None:
    found = describe(CPU)
    assert {"gradsuite", "python", "torch", "opacus", "numpy", "device", "threads", "tf32"} <= set(found)


def test_what_is_not_there_is_said_to_be_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert environment._output(["no-such-program-of-gradsuite"], tmp_path) is None
    monkeypatch.setattr(environment, "PACKAGES", ("no-such-package-of-gradsuite",))
    assert environment.versions()["no-such-package-of-gradsuite"] == "not installed"


def test_an_installed_copy_has_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_output", lambda command, where: None)
    found = describe(CPU)
    assert (found["commit"], found["dirty"]) == (None, None)
