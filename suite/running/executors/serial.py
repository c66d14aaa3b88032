"""Items one after the other, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from suite.running.tasks import Item, Outcome, Settings

if TYPE_CHECKING:
    from suite.running.worker import Bench


class Serial:
    """Measures in this process; a case that ends the process ends the run."""

    def __init__(self) -> None:
        self._bench: Bench | None = None

    def __enter__(self) -> Serial:
        return self

    def __exit__(self, *_: object) -> None:
        self._bench = None

    def device(self, name: str) -> str:
        """The device of this name here."""
        from suite.machine.environment import choose_device

        return str(choose_device(name))

    def open(self, settings: Settings) -> None:
        """Measure with these from now on."""
        from suite.running.worker import Bench

        self._bench = Bench(settings)

    def map(self, items: Sequence[Item], began: Callable[[Item], None]) -> Iterator[tuple[Item, Outcome]]:
        """Each item with its outcome, in order."""
        assert self._bench is not None  # noqa: S101  opened before
        for item in items:
            began(item)
            yield item, self._bench.perform(item)
