"""What results depend on is known while something is measured, and then as it was before."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from suite.machine import cuda
from suite.machine.global_state import COMPUTATION, full_precision, loading, pinned, preserved, seed

CPU = torch.device("cpu")


def fail_in_a_changed_state() -> None:
    with torch.no_grad(), pinned(CPU):
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


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="this torch has no such setting")
def test_what_somebody_set_in_torchs_new_words_is_known_and_put_back() -> None:
    products = torch.backends.cuda.matmul
    before, products.fp32_precision = products.fp32_precision, "tf32"
    try:
        with pytest.raises(RuntimeError, match="mix of the legacy and new APIs"):
            torch.get_float32_matmul_precision()
        with pinned(CPU):
            assert products.fp32_precision == "ieee"
            assert not products.allow_tf32
            assert torch.get_float32_matmul_precision() == "highest"
        assert products.fp32_precision == "tf32"
    finally:
        products.fp32_precision = before
    assert not products.allow_tf32


def test_a_default_device_is_put_back_that_is_not_the_cpu() -> None:
    with preserved(COMPUTATION):
        torch.set_default_device("meta")
        with pinned(CPU):
            torch.set_default_device("cpu")
        assert torch.get_default_device().type == "meta"
    assert torch.get_default_device() == torch.empty(1).device == CPU


def test_where_the_directory_was_removed_there_is_none_to_go_back_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, other = tmp_path / "gone", tmp_path / "other"
    for folder in (gone, other):
        folder.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pinned(CPU):
        os.chdir(other)
    assert Path.cwd() == other


def draw() -> tuple[float, float, float]:
    return torch.rand(1).item(), random.random(), np.random.random()  # noqa: NPY002, S311  the global ones


def test_case_files_find_the_same_random_numbers_and_leave_those_of_others() -> None:
    seed(3)
    wanted = draw()
    seed(3)
    drawn = []
    for _ in "ab":
        with loading():
            drawn.append(draw())
    assert drawn[0] == drawn[1]
    assert draw() == wanted


COMPILER = """
import os, sys, torch
from suite.machine.global_state import pinned
with pinned(torch.device("cpu")):
    assert torch.are_deterministic_algorithms_enabled()
    assert "torch._dynamo" not in sys.modules and "torch._inductor" not in sys.modules
assert not torch.are_deterministic_algorithms_enabled()
assert "TORCHINDUCTOR_DETERMINISTIC" not in os.environ
with pinned(torch.device("cpu")):
    from torch._inductor import config
    now = getattr(config, "deterministic", True)  # torch 2.6 has no such setting
assert now
for wanted in (False, True):
    torch.use_deterministic_algorithms(wanted, warn_only=wanted)
    with pinned(torch.device("cpu")):
        assert getattr(config, "deterministic", True)
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert torch.are_deterministic_algorithms_enabled() == wanted
    assert torch.is_deterministic_algorithms_warn_only_enabled() == wanted
    assert getattr(config, "deterministic", wanted) == wanted
"""


def test_the_compiler_is_told_to_be_deterministic_and_not_imported_for_it() -> None:
    done = subprocess.run([sys.executable, "-c", COMPILER], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_sums_and_attention_are_pinned_and_put_back() -> None:
    products = torch.backends.cuda.matmul
    before = cuda.reduced_sums(), cuda.attention()
    cuda.set_reduced_sums((True, False))
    cuda.set_attention(("math",))
    try:
        with pinned(CPU):
            assert (cuda.reduced_sums(), cuda.attention()) == ((False, False), cuda.ATTENTION_KERNELS)
            products.allow_bf16_reduced_precision_reduction = True
            cuda.set_attention(("flash",))
        assert (cuda.reduced_sums(), cuda.attention()) == ((True, False), ("math",))
    finally:
        cuda.set_reduced_sums(before[0])
        cuda.set_attention(before[1])


def test_a_processor_that_is_exact_is_left_alone_and_one_that_is_not_is_made_so() -> None:
    processor = torch.device("cpu")
    before, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = True
        with full_precision(processor):
            assert torch.backends.cudnn.allow_tf32
        torch.set_float32_matmul_precision("medium")
        with full_precision(processor):
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
        torch.backends.cudnn.allow_tf32 = convolutions


def test_full_precision_is_put_back_whatever_was_set() -> None:
    torch.backends.cuda.matmul.allow_tf32 = True
    before = torch.backends.cudnn.allow_tf32
    try:
        with full_precision():
            assert not torch.backends.cuda.matmul.allow_tf32
            assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.allow_tf32 == before
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
