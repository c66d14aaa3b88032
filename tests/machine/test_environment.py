"""Devices, dtypes, and what is recorded of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from suite.errors import UsageError
from suite.machine import environment
from suite.machine.environment import choose_device, choose_dtype, describe

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["tpu", "cpu:x", "", "cudа"])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="device"):
        choose_device(name)


def test_a_device_that_is_not_here_is_refused() -> None:
    with pytest.raises(UsageError, match="has no cuda: use cpu"):
        choose_device("cuda")
    assert choose_device("auto") == CPU


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(UsageError, match="no dtype is named 'float8'; there are float32"):
        choose_dtype("float8")


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
