"""What ends a process on CUDA, or has to be said before CUDA starts: in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import suite
from suite.records.file import read

pytestmark = pytest.mark.gpu

CASES = '''
from cases import data, losses, models
from suite.case import Problem, case
import torch

def outside(model, batch):
    return losses.cross_entropy(model, batch) + torch.zeros(3, device=batch[1].device)[batch[1] + 9]

def problem(loss):
    return Problem(model=lambda: models.mlp(64, 10), data=data.digits(), losses=loss,
                   columns=lambda batch: {"elements": 1})

@case(dataset="digits", batch_sizes=(8,))
def a_first() -> Problem:
    """Cross-entropy."""
    return problem(losses.cross_entropy)

@case(dataset="digits", batch_sizes=(8,))
def b_outside() -> Problem:
    """Cross-entropy with an index that is out of range."""
    return problem(outside)

@case(dataset="digits", batch_sizes=(8,))
def c_last() -> Problem:
    """Cross-entropy."""
    return problem(losses.cross_entropy)
'''


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(CASES)
    return tmp_path / "own.py"


def run(*arguments: str, **surroundings: str) -> subprocess.CompletedProcess[str]:
    given = {key: value for key, value in os.environ.items() if key != "CUBLAS_WORKSPACE_CONFIG"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env={**given, **surroundings}, capture_output=True, text=True, check=False)


def asked(own: Path) -> list[str]:
    cases = [f"--case={name}" for name in ("a-first", "b-outside", "c-last")]
    return [
        "-m",
        "suite",
        "run",
        f"--cases={own}",
        *cases,
        "--convention=sum",
        "--device=cuda",
        "--check-steps=0",
    ]


def test_a_serial_run_ends_with_the_failure_that_broke_the_device_and_keeps_what_it_measured(
    own: Path,
) -> None:
    folder = own.parent / "out"
    done = run(*asked(own), f"--output={folder}")
    assert done.returncode == 2
    assert "the device works no longer in this process, since b-outside" in done.stderr
    assert "go on with -j 1" in done.stderr
    rows = read(folder)
    assert {row["case"] for row in rows if row["kind"] == "discrepancy"} == {"a-first"}
    assert "device-side assert" in next(row["reason"] for row in rows if row["kind"] == "failure")
    assert (folder / "discrepancies.csv").exists()


def test_a_worker_whose_device_is_broken_is_replaced(own: Path) -> None:
    folder = own.parent / "out"
    done = run(*asked(own), "-j", "1", f"--output={folder}")
    assert done.returncode == 1, done.stderr
    rows = read(folder)
    assert {row["case"] for row in rows if row["kind"] == "discrepancy"} == {"a-first", "c-last"}
    assert {row["case"] for row in rows if row["kind"] == "failure"} == {"b-outside"}


STARTED = """
import torch
(torch.ones(1, 1, device="cuda") @ torch.ones(1, 1, device="cuda")).item()
import suite
try:
    suite.run(["mse"], ["sum"], batch_sizes=[8], device="cuda", prove=0)
except suite.UsageError as error:
    print(error)
"""


def test_cublas_is_deterministic_from_the_command_line_and_in_workers(tmp_path: Path) -> None:
    small = ["-m", "suite", "run", "--case=mse", "--convention=sum", "--batch-size=8", "--device=cuda"]
    for more in ([], ["-j", "1"]):
        done = run(*small, "--check-steps=0", *more, f"--output={tmp_path / str(more)}", PRETEND_CUBLAS="1")
        assert done.returncode == 0, done.stderr


def test_cublas_that_was_started_otherwise_is_one_clear_line() -> None:
    done = run("-c", STARTED, PRETEND_CUBLAS="1")
    assert done.stdout.startswith("CUDA was started without CUBLAS_WORKSPACE_CONFIG=:4096:8, so that torch ")
    assert done.stdout.count("\n") == 1
    assert run("-c", STARTED, PRETEND_CUBLAS="1", CUBLAS_WORKSPACE_CONFIG=":4096:8").stdout == ""


def test_a_quick_run_on_two_devices_has_no_fault() -> None:
    found = suite.run(["mse", "next-token", "mse-plus-l1"], device="cuda", quick=True, processes=2)
    assert not found.failures
    assert set(found.discrepancies.device) == {"cuda:0", "cuda:1"}
