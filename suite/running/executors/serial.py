"""Tasks one after the other, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from suite.running.options import RunOptions
from suite.running.tasks import BrokenDevice, Outcome, Task

if TYPE_CHECKING:
    from suite.running.worker import Worker


class Serial:
    """Measures in this process; a case that ends the process ends the run."""

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def __enter__(self) -> Serial:
        return self

    def __exit__(self, *_: object) -> None:
        self._worker = None

    def device(self, name: str) -> str:
        """The device of this name here."""
        from suite.machine.environment import choose_device

        return str(choose_device(name))

    def open(self, options: RunOptions) -> None:
        """Measure with these from now on."""
        from suite.running.worker import Worker

        self._worker = Worker(options)

    def map(self, tasks: Sequence[Task], began: Callable[[Task], None]) -> Iterator[tuple[Task, Outcome]]:
        """Each task with its outcome, in order."""
        assert self._worker is not None  # noqa: S101  opened before
        for task in tasks:
            began(task)
            outcome = self._worker.perform(task)
            yield task, outcome
            if outcome.broken:
                raise BrokenDevice(
                    f"the device works no longer in this process, since {task.name} ({outcome.broken}): what "
                    "was measured is kept; go on with -j 1, which starts a new process after such a failure"
                )
