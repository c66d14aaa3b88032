"""The tests of this folder need the pretend device, and say how to get it."""

from __future__ import annotations

import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from tests.pretend_cuda.build import NAME, why_not

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if NAME not in sys.modules:
        reason = why_not() or "the pretend CUDA device is not loaded: `tox -e pretend-cuda` runs this"
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))


class Waits:
    """The waits for the device in a block, by kind, and by the line of the suite that waited."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.lines: Counter[str] = Counter()

    def note(self, kind: str, name: str) -> None:
        ours = [f for f in traceback.extract_stack() if "/suite/" in f.filename]
        self.kinds[kind] += 1
        self.lines[
            f"{kind}: {ours[-1].filename.rpartition('/suite/')[2]}:{ours[-1].lineno}" if ours else kind
        ] += 1


@pytest.fixture
def device() -> ModuleType:
    return sys.modules[NAME]


@contextmanager
def counted(device: ModuleType) -> Iterator[Waits]:
    waits = Waits()
    device.observe(waits.note)
    try:
        yield waits
    finally:
        device.observe(None)
