"""A process that does not end is ended, and says where it was."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import suite
from suite.errors import UsageError
from suite.running.executors.time_limit import limited, loaded, reason

HANGS = """
import ctypes, sys
from suite.running.executors.time_limit import limited

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


def test_case_files_that_are_never_loaded_end_a_run_that_has_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "endless.py"
    file.write_text("import time\nwhile True:\n    time.sleep(0.01)\n")
    monkeypatch.setattr("suite.running.executors.time_limit.STARTING", 0.1)
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(
        UsageError, match=r"not loaded after 0\.2 s, at endless\.py, line [23]: what takes long"
    ):
        suite.run(["mse"], from_files=[file], time_limit=0.1)
    assert signal.getsignal(signal.SIGALRM) is before


@pytest.mark.parametrize("seconds", [None, 30, 1e300])
def test_what_is_loaded_in_time_hears_nothing(seconds: float | None) -> None:
    with loaded(seconds):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_in_a_thread_nothing_can_be_given_up() -> None:
    done: list[bool] = []

    def load() -> None:
        with loaded(30):
            done.append(True)

    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
    assert done == [True]
