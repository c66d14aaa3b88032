"""A process that does not end is ended, and says where it was."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from suite.running.limits import limited, reason

HANGS = """
import ctypes, sys
from suite.running.limits import limited

def hang():
    ctypes.PyDLL(None).sleep(100)  # no other thread of Python runs meanwhile

with limited({seconds}, sys.stderr.fileno()):
    hang()
"""
TOLD = f"""Timeout (0:00:01)!
Thread 0x00007f8f2d7fa6c0 (most recent call first):
  File "/elsewhere/loader.py", line 3 in another_thread

Thread 0x00007f8f4a1c1740 [python] (most recent call first):
  File {json.dumps(json.__file__)}, line 346 in loads
  File "<string>", line 1 in generated
  File "/home/somebody/mine.py", line 41 in losses
  File "/home/somebody/other.py", line 5 in outer
"""


def test_c_that_lets_nobody_else_run_is_ended_and_says_where_it_was() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGS.format(seconds=0.2)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert reason(0.2, done.stderr) == (
        "it did not end within 0.2 s, the time limit, and was stopped in hang (<string>, line 6)"
    )


def test_what_is_said_of_the_main_thread_is_the_innermost_line_of_somebodys_own() -> None:
    assert reason(60, TOLD) == (
        "it did not end within 60 s, the time limit, and was stopped in losses (mine.py, line 41)"
    )


@pytest.mark.parametrize("told", ["", "Timeout (0:00:01)!\n", TOLD[:40]])
def test_nothing_is_said_of_where_it_was_if_it_did_not_tell(told: str) -> None:
    assert reason(0.5, told) == "it did not end within 0.5 s, the time limit, and was stopped"


@pytest.mark.parametrize("seconds", [None, 30, 1e300])
def test_what_ends_in_time_goes_on(seconds: float | None, capfd: pytest.CaptureFixture[str]) -> None:
    with limited(seconds, 2):
        pass
    assert not capfd.readouterr().err
