"""Tasks on the workers of an existing Dask cluster, on this machine or any other."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Any

from suite.errors import UsageError, one_line
from suite.running.options import RunOptions
from suite.running.tasks import Outcome, Task, lost

if TYPE_CHECKING:
    from suite.running.executors.processes import Processes
    from suite.running.worker import Worker

CONNECT = "10s"

_one_at_a_time = threading.Lock()
_workers: dict[RunOptions, Worker] = {}
_limited: dict[tuple[RunOptions, float], Processes] = {}


class Cluster:
    """Measures on a Dask cluster. Dask itself moves the tasks of a worker that died to another one.

    Args:
        address: of the scheduler, `tcp://HOST:PORT`, or the path of its scheduler file.
        limit: the seconds that a task may take; None for any. With a limit, each worker measures in a
            process of its own, as it cannot be stopped itself without all that waits at it.
    """

    def __init__(self, address: str, *, limit: float | None = None) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise UsageError(
                "--cluster needs Dask: pip install distributed, or pip install '.[cluster]' in "
                "gradsuite's source tree"
            ) from None
        where = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
        try:
            self._client = Client(**where, timeout=CONNECT, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(
                f"no Dask scheduler answers at {address!r} ({one_line(error)}): "
                "give the address that `dask scheduler` prints"
            ) from None
        self._options: RunOptions | None = None
        self._limit = limit

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        if self._limit is not None:
            with suppress(Exception):  # a worker that cannot be reached is none of ours any longer
                self._client.run(stop)
        self._client.close()

    def device(self, name: str) -> str:
        """The device of this name on the workers, which must be all of one kind."""
        if not self._client.scheduler_info(n_workers=-1)["workers"]:
            raise UsageError("the cluster has no workers: start some, then run again")
        try:
            found: Mapping[str, str] = self._client.run(_device, name)
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(f"the workers cannot run this gradsuite: {one_line(error)}") from error
        if len(set(found.values())) > 1:
            told = ", ".join(f"{where} has {device}" for where, device in sorted(found.items()))
            raise UsageError(f"the workers have different devices ({told}): choose one with --device")
        return next(iter(found.values()))

    def open(self, options: RunOptions) -> None:
        """Measure with these from now on."""
        self._options = options

    def map(self, tasks: Sequence[Task], began: Callable[[Task], None]) -> Iterator[tuple[Task, Outcome]]:
        """Each task with its outcome, as they are done."""
        from distributed import as_completed

        futures = {self._submit(task): task for task in tasks}
        for task in tasks:
            began(task)
        blamed: list[tuple[Task, Outcome]] = []
        for future in as_completed(list(futures), loop=self._client.loop):
            task = futures.pop(future)
            outcome, died = self._result(task, future)
            if died:
                blamed.append((task, outcome))
            else:
                yield task, outcome
        # Dask blames all that waited at a worker that died: alone, each shows whether it was the one.
        fatal: set[str] = set()
        for task, outcome in blamed:
            died = task.case in fatal
            if not died:
                outcome, died = self._result(task, self._submit(task))
            if died:
                fatal.add(task.case)
            yield task, outcome

    def _submit(self, task: Task) -> Any:
        key = f"gradsuite-{uuid.uuid4().hex[:8]}-{task.kind}-{task.name}"
        return self._client.submit(perform, task, self._options, self._places, self._limit, key=key)

    def _result(self, task: Task, future: Any) -> tuple[Outcome, bool]:
        """The outcome, and whether each worker that took the task died."""
        from distributed.scheduler import KilledWorker

        assert self._options is not None  # noqa: S101  opened before
        error = future.exception()
        if error is None:
            outcome: Outcome = future.result()
        elif isinstance(error, KilledWorker):
            reason = f"it ended its process, as each of {error.allowed_failures + 1} workers that took it did"
            outcome = lost(task, self._options, reason)
        else:
            outcome = lost(task, self._options, one_line(error))
        future.release()
        return outcome, isinstance(error, KilledWorker)

    @cached_property
    def _places(self) -> dict[str, int]:
        """The number of each worker among those of its host, which chooses its device."""
        places: dict[str, int] = {}
        by_host: dict[str, int] = {}
        for address, known in sorted(self._client.scheduler_info(n_workers=-1)["workers"].items()):
            places[address] = by_host.get(known["host"], 0)
            by_host[known["host"]] = places[address] + 1
        return places


def perform(task: Task, options: RunOptions, places: Mapping[str, int], limit: float | None) -> Outcome:
    """Measure a task on the worker that this runs on.

    One at a time: the state of torch belongs to the whole process, however many threads it has.
    """
    import torch
    from distributed import get_worker

    from suite.running.worker import Worker

    with _one_at_a_time:
        if options.device == "cuda" and torch.cuda.device_count() > 1:  # uncovered: needs CUDA devices
            place = places.get(get_worker().address, 0)
            options = options.on(f"cuda:{place % torch.cuda.device_count()}")
        if limit is not None:
            return _perform_within(limit, task, options)
        torch.set_num_threads(1)
        if options not in _workers:
            _workers.clear()
            _workers[options] = Worker(options)
        return _workers[options].perform(task)


def _perform_within(limit: float, task: Task, options: RunOptions) -> Outcome:
    """Measure a task in a process of the worker's, which lives until the run ends."""
    from suite.running.executors.processes import Processes

    if (options, limit) not in _limited:
        stop()
        process = _limited[options, limit] = Processes(1, limit=limit)
        process.device(options.device)
        process.open(options)
        Finalize(None, stop, exitpriority=10)  # before the worker waits for its processes, when it ends
    ((_, outcome),) = _limited[options, limit].map([task], lambda _: None)
    return outcome


def stop() -> None:
    """End the process of the worker that this runs on, if it has one."""
    while _limited:
        _limited.popitem()[1].__exit__()


def _device(name: str) -> str:
    from suite.machine.environment import choose_device

    return str(choose_device(name))
