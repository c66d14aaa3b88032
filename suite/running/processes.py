"""Items in processes of this machine: spawned once and reused, with one torch thread each.

Each worker has a pipe of its own. When it dies, the end of the pipe tells so, and which item it was
at; when the driver dies, the same tells the worker, which then ends.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from suite.errors import UsageError
from suite.running.items import Item, Outcome, Settings, lost

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

ATTEMPTS = 2
"""How many workers an item may cost: the first may have died of something else, the second did not."""


class Worker:
    """A process that measures one item after the other.

    Args:
        settings: how; with the device that is this worker's.
    """

    def __init__(self, settings: Settings) -> None:
        context = multiprocessing.get_context("spawn")
        self.settings = settings
        self.item: Item | None = None
        self.ready = False
        self.pipe, theirs = context.Pipe()
        # No daemon: a case may load its data in processes of its own.
        self.process: SpawnProcess = context.Process(target=_work, args=(theirs, settings))
        with _ignored_interrupt():
            self.process.start()
        theirs.close()

    def stop(self) -> None:
        """End the process, whatever it is at."""
        self.pipe.close()
        self.process.terminate()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


class Processes:
    """Measures in `count` processes; one that dies costs its item a failure at most.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise UsageError(f"-j takes 1 process or more, {count} was given")
        self._count = count
        self._devices: list[str] = []
        self._settings: Settings | None = None
        self._workers: list[Worker | None] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            if worker is not None:
                worker.stop()
        self._workers = []

    def device(self, name: str) -> str:
        """The device of this name here; a worker each, in turn, where several CUDA devices are meant."""
        import torch

        from suite.environment import choose_device

        found = choose_device(name)
        several = found.type == "cuda" and found.index is None and torch.cuda.device_count() > 1
        self._devices = [f"cuda:{k}" for k in range(torch.cuda.device_count())] if several else [str(found)]
        return str(found)

    def open(self, settings: Settings) -> None:
        """Measure with these from now on. Workers start when there is work for them."""
        self._settings = settings
        self._workers = [None] * self._count

    def map(self, items: Sequence[Item], began: Callable[[Item], None]) -> Iterator[tuple[Item, Outcome]]:
        """Each item with its outcome, as they are done."""
        waiting = deque((item, 1) for item in items)
        tries: dict[str, int] = {}
        fatal: set[str] = set()  # cases that are known to end their process
        while waiting or any(w is not None and w.item for w in self._workers):
            for index in range(self._count):
                worker = self._workers[index]
                if waiting and (worker is None or worker.item is None):
                    worker = worker or self._start(index)
                    item, tries[item.name] = waiting.popleft()
                    worker.item = item
                    began(item)
                    _send(worker, item)
            for index in self._heard():
                worker = self._workers[index]
                assert worker is not None  # noqa: S101  it was heard of
                try:
                    outcome: Outcome | None = worker.pipe.recv()
                except (EOFError, ConnectionError):
                    done, self._workers[index] = worker.item, None
                    reason = _last_words(worker)
                    if done and tries[done.name] < ATTEMPTS and done.case not in fatal:
                        waiting.appendleft((done, tries[done.name] + 1))
                    elif done:  # uncovered branch: only a worker that is at an item is heard of
                        fatal.add(done.case)
                        yield done, lost(done, worker.settings, reason)
                    continue
                worker.ready = True
                if outcome is not None and worker.item is not None:
                    done, worker.item = worker.item, None
                    yield done, outcome

    def _start(self, index: int) -> Worker:
        assert self._settings is not None  # noqa: S101  opened before
        device = self._devices[index % len(self._devices)]
        worker = self._workers[index] = Worker(self._settings.on(device))
        return worker

    def _heard(self) -> list[int]:
        pipes = {w.pipe: index for index, w in enumerate(self._workers) if w is not None and w.item}
        return [pipes[pipe] for pipe in wait(list(pipes)) if isinstance(pipe, Connection)]


def _send(worker: Worker, item: Item) -> None:
    with suppress(ConnectionError):  # it died; its silence is heard next
        worker.pipe.send(item)


def _last_words(worker: Worker) -> str:
    worker.process.join(5)
    code = worker.process.exitcode
    worker.stop()
    if not worker.ready:
        raise UsageError(
            f"a worker process could not start (exit code {code}): a script that calls suite.run must do so "
            'under `if __name__ == "__main__":`; or leave the processes away'
        )
    if code is not None and code < 0:
        names = {int(s): s.name for s in signal.Signals}
        return f"its process was killed by {names.get(-code, -code)}"
    return f"it ended its process with exit code {code}"


def _work(pipe: Connection, settings: Settings) -> None:
    """What a worker does until the driver closes the pipe."""
    import torch

    from suite.running.bench import Bench

    torch.set_num_threads(1)
    bench = Bench(settings)
    try:
        pipe.send(None)  # ready
        while True:
            pipe.send(bench.perform(pipe.recv()))
    except (EOFError, ConnectionError):
        return


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
