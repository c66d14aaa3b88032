"""Killed at random moments and resumed, or twice at once: the record is that of a run left alone."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

import suite
from suite.errors import UsageError
from suite.records.file import read, read_log
from tests.running.same import SMALL, multiset, results, written

ASKED = {
    "cases": ["small-works*"],
    "conventions": ["*mean*", "*sum*"],
    "from_files": [SMALL],
    "check_steps": 3,
}


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    asked = [
        "--case",
        "small-works*",
        "--convention",
        "*mean*",
        "--convention",
        "*sum*",
        "--check-steps",
        "3",
    ]
    command = [sys.executable, "-m", "suite", "run", "--cases", str(SMALL), *asked, "--output", str(folder)]
    return subprocess.Popen(
        [*command, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Where the tests run in the background of a shell, Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.fixture(scope="module")
def folder_of_whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    suite.run(**ASKED, output=folder)
    return folder


@pytest.fixture(scope="module")
def whole(folder_of_whole: Path) -> list[dict]:
    return results(read(folder_of_whole))


def size(folder: Path) -> int:
    """How many bytes of a record there are."""
    path = folder / "records.jsonl"
    return path.stat().st_size if path.exists() else 0


def kill_and_resume(folder: Path, times: int, whole: Path, seed: int) -> list[int]:
    """Kill runs at moments spread over the whole record, and let one end; how far each one came."""
    chance = random.Random(seed)  # noqa: S311  nothing secret
    reached = []
    for _ in range(times):
        goal = size(folder) + chance.randint(0, 2 * size(whole) // (times + 1))
        run = start(folder)
        while run.poll() is None and size(folder) < goal:
            time.sleep(0.0005)
        time.sleep(chance.random() * 0.02)
        with suppress(ProcessLookupError):  # it was done
            os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
        reached.append(size(folder))
    last = start(folder)
    _, errors = last.communicate(timeout=300)
    assert last.returncode == 0, errors
    # No row is lost, doubled or torn.
    assert results(written(folder)) == results(read(folder)) == results(read(whole))
    assert read_log(folder).torn is None
    return reached


def test_a_run_that_was_killed_goes_on_to_the_same_record(tmp_path: Path, folder_of_whole: Path) -> None:
    reached = kill_and_resume(tmp_path, 2, folder_of_whole, seed=1)
    assert 0 < reached[-1] < size(folder_of_whole)


@pytest.mark.slow
def test_a_run_that_was_killed_at_twenty_moments_goes_on_to_the_same_record(
    tmp_path: Path, folder_of_whole: Path
) -> None:
    seed = random.randrange(2**32)  # noqa: S311  other moments each night
    reached = kill_and_resume(tmp_path, 20, folder_of_whole, seed)
    assert len(set(reached)) > 5, seed


def test_two_runs_at_once_into_one_folder_leave_the_record_of_one(tmp_path: Path, whole: list[dict]) -> None:
    runs = [start(tmp_path), start(tmp_path)]
    told = [run.communicate(timeout=300) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], told
    assert results(written(tmp_path)) == results(read(tmp_path)) == whole
    assert told[0][0].replace("\n", "") == told[1][0].replace("\n", "")  # both print the same tables


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path: Path, whole: list[dict]) -> None:
    folder = tmp_path / "a folder"
    run = start(folder)
    while not size(folder):
        assert run.poll() is None, run.communicate()
        time.sleep(0.001)
    run.send_signal(signal.SIGINT)
    told, errors = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "Traceback" not in errors
    assert f"Interrupted. What was measured is kept in {folder}; to go on:" in told
    command = told.strip().splitlines()[-1].strip()
    assert command.startswith(f"gradsuite run --cases {SMALL} --case 'small-works*' --convention '*mean*'")
    assert command.endswith(f"--output '{folder}'")
    read(folder)


def test_processes_measure_the_same_and_survive_a_case_that_ends_them(
    tmp_path: Path, whole: list[dict]
) -> None:
    asked = {**ASKED, "cases": ["small-works*", "small-exits"]}
    report = suite.run(**asked, output=tmp_path, processes=2)
    assert [row for row in results(report.rows) if row["kind"] != "failure"] == whole
    assert [(row["case"], row["reason"]) for row in report.failures] == [
        ("small-exits", "it ended its process with exit code 3")
    ]
    assert multiset(read(tmp_path)) == multiset(report.rows)


@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_no_processes_behind(tmp_path: Path, whole: list[dict]) -> None:
    run = start(tmp_path, "-j", "2")
    while not size(tmp_path):
        time.sleep(0.001)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate(timeout=60)  # until the last process has closed its end of the pipes
    last = start(tmp_path)
    last.communicate(timeout=300)
    assert multiset(written(tmp_path)) == multiset(read(tmp_path))
    assert results(suite.run(**ASKED, output=tmp_path).rows) == whole


@pytest.mark.slow
def test_cases_that_are_killed_or_cannot_be_built_are_reported_so() -> None:
    cases = ["small-is-killed", "small-exits-at-once"]
    report = suite.run(cases, ["sum"], from_files=[SMALL], processes=1)
    assert [(row["case"], row["reason"]) for row in report.failures] == [
        ("small-exits-at-once", "it ended its process with exit code 4"),
        *[("small-is-killed", "its process was killed by SIGKILL")] * 2,
    ]


def test_no_processes_is_refused() -> None:
    with pytest.raises(UsageError, match="-j takes 1 process or more, 0 was given"):
        suite.run(processes=0)
    with pytest.raises(UsageError, match="-j and --cluster exclude each other"):
        suite.run(processes=1, cluster="tcp://localhost:1")
