"""What a task cost."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import pytest
import torch

from suite.machine import usage as meter

CPU = torch.device("cpu")


def test_it_tells_when_how_long_and_how_much() -> None:
    with meter.metered(CPU) as spent:
        time.sleep(0.02)
    assert 0.02 <= spent["seconds"] < 2
    assert datetime.fromisoformat(spent["started"]).tzinfo is not None


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak")
def test_the_peak_is_of_this_item_not_of_those_before() -> None:
    with meter.metered(CPU) as before:
        large = torch.ones(50_000_000)  # 200 MB
    del large
    with meter.metered(CPU) as after:
        pass
    assert before["peak_memory"] - after["peak_memory"] > 100_000_000


def test_where_the_system_does_not_tell_nothing_is_made_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(meter, "PROC", tmp_path / "nowhere")
    with meter.metered(CPU) as spent:
        pass
    assert spent["peak_memory"] is None
