"""What several ranks saw of one update, brought to rank 0 without a collective.

Each rank leaves its micro-batches in the store of the process group and goes on; rank 0 fetches them. A rank
that has ended, or whose audit failed, leaves word of that, and one that leaves nothing is waited for a
while: no rank ever waits for another one's audit but in the training's own communication.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed

from suite.watch.microbatch import Call, Circumstances

POLL = 0.002  # seconds
LATE = 1.0
"""How many seconds a rank is waited for that left nothing last time: its training may be over."""


@dataclass(frozen=True, eq=False)
class Report:
    """What one rank saw of an update.

    Args:
        calls: its micro-batches.
        norm: of the gradient that its optimizer is about to use.
        missing: why there is nothing; empty where there is.
    """

    calls: list[Call]
    norm: float | None = None
    missing: str = ""


class Ranks:
    """The ranks of a run; one of them, alone, where it is not distributed.

    Args:
        number: of the watch in its process, the same on all ranks.
        timeout: how many seconds rank 0 waits for another rank.
    """

    def __init__(self, number: int, timeout: float) -> None:
        on = distributed.is_available() and distributed.is_initialized()
        self.rank = distributed.get_rank() if on else 0
        self.count = distributed.get_world_size() if on else 1
        self.timeout = timeout
        self._late: set[int] = set()  # ranks that left nothing last time
        self._prefix = f"gradsuite/watch/{number}"
        self._store: Any = distributed.distributed_c10d._get_default_store() if self.count > 1 else None  # noqa: SLF001

    def send(self, update: int, report: Report) -> None:
        """Leave what this rank saw for rank 0."""
        self._store.set(f"{self._prefix}/{update}/{self.rank}", packed(report))

    def close(self) -> None:
        """Leave word that this rank looks no more."""
        if self.count > 1 and self.rank:
            try:
                self._store.set(f"{self._prefix}/ended/{self.rank}", b"1")
            except RuntimeError:
                return  # the store is gone, and so is rank 0

    def collect(self, update: int) -> dict[int, Report]:
        """What the other ranks saw of an update, by rank."""
        return {rank: self._of(update, rank) for rank in range(1, self.count)}

    def _of(self, update: int, rank: int) -> Report:
        key, ended = f"{self._prefix}/{update}/{rank}", f"{self._prefix}/ended/{rank}"
        timeout = min(self.timeout, LATE) if rank in self._late else self.timeout
        until = time.monotonic() + timeout
        self._late.add(rank)
        while not self._store.check([key]):
            if self._store.check([ended]) and not self._store.check([key]):
                return Report([], missing="it had ended")
            if time.monotonic() > until:
                return Report([], missing=f"it left nothing within {timeout:g} seconds")
            time.sleep(POLL)
        self._late.discard(rank)
        found = unpacked(self._store.get(key), rank)
        self._store.delete_key(key)
        return found


def packed(report: Report) -> bytes:
    """As bytes of tensors and plain values."""
    calls = [
        {
            "batch": _plain(call.batch),
            "left_out": list(call.left_out),
            "circumstances": None
            if call.circumstances is None
            else [
                dict(call.circumstances.modes),
                call.circumstances.random,
                list(call.circumstances.devices),
                [[kind, dtype] for kind, dtype in call.circumstances.autocast],
            ],
        }
        for call in report.calls
    ]
    file = io.BytesIO()
    torch.save({"calls": calls, "norm": report.norm, "missing": report.missing}, file)
    return file.getvalue()


def unpacked(content: bytes, rank: int) -> Report:
    """What `packed` packed; nothing in it is run."""
    found = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    calls = []
    for call in found["calls"]:
        given, circumstances = call["circumstances"], None
        if given is not None:
            modes, random, devices, autocast = given
            circumstances = Circumstances(modes, random, tuple(devices), frozenset(map(tuple, autocast)))
        calls.append(Call(call["batch"], circumstances, rank, tuple(call["left_out"])))
    return Report(calls, found["norm"], found["missing"])


def _plain(batch: Any) -> Any:
    if isinstance(batch, dict):
        return {key: _plain(value) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        parts = [_plain(value) for value in batch]
        return tuple(parts) if isinstance(batch, tuple) else parts
    return batch
