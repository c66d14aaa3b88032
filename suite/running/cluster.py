"""Items on the workers of an existing Dask cluster, on this machine or any other."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from suite.errors import UsageError, one_line
from suite.running.items import Item, Outcome, Settings, lost

if TYPE_CHECKING:
    from suite.running.bench import Bench

CONNECT = "10s"

_one_at_a_time = threading.Lock()
_benches: dict[Settings, Bench] = {}


class Cluster:
    """Measures on a Dask cluster. Dask itself moves the items of a worker that died to another one.

    Args:
        address: of the scheduler, `tcp://HOST:PORT`, or the path of its scheduler file.
    """

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise UsageError("--cluster needs Dask: pip install 'gradsuite[cluster]'") from None
        where = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
        try:
            self._client = Client(**where, timeout=CONNECT, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(
                f"no Dask scheduler answers at {address!r} ({one_line(error)}): "
                "give the address that `dask scheduler` prints"
            ) from None
        self._settings: Settings | None = None

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
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

    def open(self, settings: Settings) -> None:
        """Measure with these from now on."""
        self._settings = settings

    def map(self, items: Sequence[Item], began: Callable[[Item], None]) -> Iterator[tuple[Item, Outcome]]:
        """Each item with its outcome, as they are done."""
        from distributed import as_completed
        from distributed.scheduler import KilledWorker

        assert self._settings is not None  # noqa: S101  opened before
        futures: dict[Any, Item] = {}
        places, sweep = self._places(), uuid.uuid4().hex
        for item in items:
            key = f"gradsuite-{sweep}-{item.kind}-{item.name}"
            futures[self._client.submit(perform, item, self._settings, places, key=key)] = item
            began(item)
        done = as_completed(list(futures))
        for future in done:
            item = futures.pop(future)
            error = future.exception() if future.status != "finished" else None
            if error is None:
                outcome = future.result()
            elif isinstance(error, KilledWorker):
                reason = f"each of the {error.allowed_failures + 1} workers that took it died"
                outcome = lost(item, self._settings, reason)
            else:
                outcome = lost(item, self._settings, one_line(error))
            future.release()
            yield item, outcome

    def _places(self) -> dict[str, int]:
        """The number of each worker among those of its host, which chooses its device."""
        places: dict[str, int] = {}
        by_host: dict[str, int] = {}
        for address, known in sorted(self._client.scheduler_info(n_workers=-1)["workers"].items()):
            places[address] = by_host.get(known["host"], 0)
            by_host[known["host"]] = places[address] + 1
        return places


def perform(item: Item, settings: Settings, places: Mapping[str, int]) -> Outcome:
    """Measure an item on the worker that this runs on.

    One at a time: the state of torch belongs to the whole process, however many threads it has.
    """
    import torch
    from distributed import get_worker

    from suite.running.bench import Bench

    with _one_at_a_time:
        torch.set_num_threads(1)
        if settings.device == "cuda" and torch.cuda.device_count() > 1:
            place = places.get(get_worker().address, 0)
            settings = settings.on(f"cuda:{place % torch.cuda.device_count()}")
        if settings not in _benches:
            _benches.clear()
            _benches[settings] = Bench(settings)
        return _benches[settings].perform(item)


def _device(name: str) -> str:
    from suite.environment import choose_device

    return str(choose_device(name))
