"""Workers: how they start, and how they end."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection

import pytest

import suite
from suite.errors import UsageError
from suite.running.executors import processes
from suite.running.executors.processes import Processes, WorkerProcess
from suite.running.options import RunOptions
from tests.running.same import SMALL


def dies(*_: object) -> None:
    sys.exit(7)


def deaf(ready: Connection) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready.send(None)
    time.sleep(60)


def test_a_worker_that_cannot_start_says_what_a_script_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_work", dies)
    with pytest.raises(UsageError, match=r"could not start \(exit code 7\): .* `if __name__ == "):
        suite.run(["small-works"], ["sum"], from_files=[SMALL], check_steps=0, processes=1)


def says_nothing(pipe: Connection, *_: object) -> None:
    pipe.send(None)  # ready
    pipe.recv()
    time.sleep(60)


def test_a_worker_that_neither_answers_nor_ends_in_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_work", says_nothing)
    monkeypatch.setattr("suite.running.executors.time_limit.GRACE", 0.1)
    found = suite.run(
        ["small-works"], ["sum"], from_files=[SMALL], check_steps=0, processes=1, time_limit=0.1
    )
    assert {row["reason"] for row in found.failures} == {
        "it did not end within 0.1 s, the time limit, and was stopped"
    }


def test_a_worker_that_does_not_listen_is_killed() -> None:
    context = multiprocessing.get_context("spawn")
    worker = WorkerProcess.__new__(WorkerProcess)
    worker.pipe, theirs = context.Pipe()
    worker._told, _ = context.Pipe(duplex=False)
    worker._process = context.Process(target=deaf, args=(theirs,))
    worker._process.start()
    worker.pipe.recv()  # from now on it ignores what it is told
    worker.stop()
    assert worker._process.exitcode == -signal.SIGKILL


def test_processes_that_get_no_work_are_not_started() -> None:
    with Processes(2) as executor:
        executor.device("cpu")
        executor.open(RunOptions(device="cpu"))
        assert list(executor.map([], print)) == []
        assert executor._workers == [None, None]


def test_a_worker_may_be_started_from_a_thread() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def start() -> None:
        with processes._ignored_interrupt():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert seen == [before]  # only the main thread may set what Ctrl-C does
