"""Tasks in processes of this machine: spawned once and reused, with one torch thread each.

Each worker has a pipe of its own. When it dies, the end of the pipe tells so, and which task it was
at; when the driver dies, the worker ends with all that it started, whatever it is at.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from suite.errors import UsageError
from suite.machine.cuda import fix_workspace
from suite.running.executors import time_limit as limits
from suite.running.options import RunOptions
from suite.running.tasks import Outcome, Task, lost

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

ATTEMPTS = 2
"""How many workers a task may cost: the first may have died of something else, the second did not."""

DAY = 86_400.0
"""Seconds; how long to wait at once, as the system allows no more than some weeks."""


@dataclass(frozen=True)
class Death:
    """The end of a worker.

    Args:
        reason: why, for people.
        seconds: how long it was at its task, where that was too long; None where it died of something else.
    """

    reason: str
    seconds: float | None = None


class WorkerProcess:
    """A process that measures one task after the other.

    Args:
        settings: how; with the device that is this worker's.
        threads: how many torch may use.
        share: how many processes share its device.
        limit: the seconds that a task may take; None for any.
    """

    def __init__(self, options: RunOptions, threads: int, share: int, limit: float | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.options = options
        self.task: Task | None = None
        self._ready = False
        self._began = 0.0
        self._limit = limit
        self.pipe, theirs = context.Pipe()
        self._told, telling = context.Pipe(duplex=False)
        # No daemon: a case may load its data in processes of its own.
        self._process: SpawnProcess = context.Process(
            target=_work, args=(theirs, telling, options, threads, share, limit)
        )
        with _ignored_interrupt(), _allowed_children():
            self._process.start()
        theirs.close()
        telling.close()

    def take(self, task: Task) -> None:
        """Begin with a task."""
        self.task = task
        self._began = time.monotonic()
        with suppress(ConnectionError):  # it died; its silence is heard next
            self.pipe.send(task)

    @property
    def left(self) -> float:
        """The seconds after which it is not waited for any longer."""
        if self._limit is None:
            return math.inf
        more = limits.GRACE if self._ready else limits.STARTING
        return max(self._began + self._limit + more - time.monotonic(), 0.0)

    def answer(self) -> Outcome | Death | None:
        """What it says of its task; None where it says only that it is ready now."""
        with suppress(EOFError, ConnectionError):
            if self.pipe.poll():
                outcome: Outcome | None = self.pipe.recv()
                if outcome is None:
                    self._ready, self._began = True, time.monotonic()
                else:
                    self.task = None
                return outcome
        return self._death()

    def stop(self) -> None:
        """End the process, whatever it is at, and those that it started."""
        self.pipe.close()
        self._told.close()
        pid = self._process.pid
        if pid is not None and os.name == "posix":  # uncovered branch: on Windows alone
            with suppress(ProcessLookupError, PermissionError):  # it has no group yet, or no more
                os.killpg(pid, signal.SIGKILL)
        self._process.kill()
        self._process.join(5)  # one that waits for a broken device does not even die

    def _death(self) -> Death:
        took = time.monotonic() - self._began
        if self.left:  # it ended by itself
            self._process.join(5)
        told, code = self._last_words(), self._process.exitcode
        self.stop()
        if not self._ready:
            how = "in time" if code is None else f"(exit code {code})"
            raise UsageError(
                f"a worker process could not start {how}: a script that calls suite.run must do so "
                'under `if __name__ == "__main__":`; or leave processes and time limit away'
            )
        if self._limit is not None and (told or took >= self._limit):
            return Death(limits.reason(self._limit, told), took)
        if code is not None and code < 0:
            names = {int(s): s.name for s in signal.Signals}
            return Death(f"its process was killed by {names.get(-code, -code)}")
        return Death(f"it ended its process with exit code {code}")

    def _last_words(self) -> str:
        """Where it was when its time was over; empty if it did not say."""
        said = b""
        with suppress(OSError):
            while self._told.poll() and (more := os.read(self._told.fileno(), 2**16)):
                said += more
        return said.decode(errors="replace")


class Processes:
    """Measures in `count` processes; one that dies, or does not end, costs its task a failure at most.

    Args:
        count: how many.
        threads: how many torch may use in each; as many as here if None.
        limit: the seconds that a task may take; None for any.
    """

    def __init__(self, count: int, *, threads: int | None = 1, limit: float | None = None) -> None:
        self._count = count
        self._threads = threads
        self._limit = limit
        self._devices: list[str] = []
        self._options: RunOptions | None = None
        self._workers: list[WorkerProcess | None] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self._options = None  # where another thread is at `map`, it starts no more
        for worker in self._workers:
            if worker is not None:
                worker.stop()

    def device(self, name: str) -> str:
        """The device of this name here; a worker each, in turn, where several CUDA devices are meant."""
        import torch

        from suite.machine.environment import choose_device

        found = choose_device(name)
        several = found.type == "cuda" and found.index is None and torch.cuda.device_count() > 1
        self._devices = [f"cuda:{k}" for k in range(torch.cuda.device_count())] if several else [str(found)]
        self._threads = self._threads or torch.get_num_threads()
        return str(found)

    def open(self, options: RunOptions) -> None:
        """Measure with these from now on. Workers start when there is work for them."""
        self._options = options
        self._workers = [None] * self._count

    def map(self, tasks: Sequence[Task], began: Callable[[Task], None]) -> Iterator[tuple[Task, Outcome]]:
        """Each task with its outcome, as they are done."""
        waiting = deque((task, 1) for task in tasks)
        tries: dict[str, int] = {}
        fatal: set[str] = set()  # cases that are known to end their process
        while waiting or self._at_work():
            for index, worker in enumerate(self._workers):
                if waiting and (worker is None or worker.task is None):
                    task, tries[task.name] = waiting.popleft()
                    began(task)
                    (worker or self._start(index)).take(task)
            for worker, done in self._heard():
                answer = worker.answer()
                if isinstance(answer, Outcome):
                    if answer.broken:  # the next task gets a new process
                        self._workers[self._workers.index(worker)] = None
                        worker.stop()
                    yield done, answer
                elif isinstance(answer, Death):
                    self._workers[self._workers.index(worker)] = None
                    chance = tries[done.name] < ATTEMPTS and done.case not in fatal
                    if answer.seconds is None and chance:
                        waiting.appendleft((done, tries[done.name] + 1))
                        continue
                    if answer.seconds is None:
                        fatal.add(done.case)
                    yield done, lost(done, worker.options, answer.reason, seconds=answer.seconds or 0.0)

    def _start(self, index: int) -> WorkerProcess:
        assert self._options is not None  # noqa: S101  opened before
        device = self._devices[index % len(self._devices)]
        options, share = self._options.on(device), -(-self._count // max(1, len(self._devices)))
        worker = self._workers[index] = WorkerProcess(options, self._threads or 1, share, self._limit)
        return worker

    def _at_work(self) -> list[tuple[WorkerProcess, Task]]:
        return [(w, w.task) for w in self._workers if w is not None and w.task is not None]

    def _heard(self) -> list[tuple[WorkerProcess, Task]]:
        """Those at work that say something, have died, or have no time left."""
        busy = self._at_work()
        heard = wait([worker.pipe for worker, _ in busy], min(DAY, *(worker.left for worker, _ in busy)))
        return [(worker, task) for worker, task in busy if worker.pipe in heard or not worker.left]


def _work(
    pipe: Connection, telling: Connection, options: RunOptions, threads: int, share: int, limit: float | None
) -> None:
    """What a worker does until the driver closes the pipe."""
    _follow_driver()
    fix_workspace()  # before anything starts CUDA
    import torch

    from suite.running.worker import Worker

    torch.set_num_threads(threads)
    worker = Worker(options, share)
    worker.prepare()
    told = telling.fileno() if os.name == "posix" else sys.stderr.fileno()
    try:
        pipe.send(None)  # ready
        while True:
            task = pipe.recv()
            with limits.limited(limit, told):
                outcome = worker.perform(task)
            with suppress(OSError, ValueError):  # what a case printed is seen, however this process ends
                sys.stdout.flush()
            pipe.send(outcome)
    except (EOFError, ConnectionError):  # uncovered: with the pipe the process ends, by force if need be
        return


def _follow_driver() -> None:
    """End this process, and those that it starts, with the driver: its task may never end by itself."""
    driver = multiprocessing.parent_process()
    assert driver is not None  # noqa: S101  it was started by one
    if os.name == "posix":  # uncovered branch: on Windows alone
        os.setpgid(0, 0)

    def follow() -> None:
        driver.join()
        if os.name == "posix":  # uncovered: it ends the process, which tells nobody what it ran
            os.killpg(0, signal.SIGKILL)
        os._exit(1)  # what it is at may never end; uncovered: on Windows alone

    threading.Thread(target=follow, daemon=True).start()


@contextmanager
def _ignored_interrupt() -> Iterator[None]:
    """Ctrl-C is the driver's to answer: a process started here does not see it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _allowed_children() -> Iterator[None]:
    """Dask's workers are daemons, which may start nothing that outlives them: these do not."""
    this = multiprocessing.current_process()
    before = this.daemon
    this.daemon = False
    try:
        yield
    finally:
        this.daemon = before
