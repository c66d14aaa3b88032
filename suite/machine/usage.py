"""What a task cost: when it began, how long it took, and the most memory that it held."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PROC = Path("/proc/self")


@contextmanager
def metered(device: torch.device) -> Iterator[dict[str, Any]]:
    """Fill a row with `started`, `seconds` and `peak_memory` when the block ends.

    Peak memory is in bytes: of a CUDA device what torch allocated there, otherwise what the process
    held; None where the system does not tell (it is read from Linux' `/proc`).
    """
    spent: dict[str, Any] = {"started": datetime.now(UTC).isoformat(timespec="milliseconds")}
    _reset(device)
    begin = time.perf_counter()
    try:
        yield spent
    finally:
        spent["seconds"] = round(time.perf_counter() - begin, 6)
        spent["peak_memory"] = _peak(device)


def _reset(device: torch.device) -> None:
    if device.type == "cuda":  # uncovered: needs a CUDA device
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        return
    # "5" sets the high-water mark of the process back to what it holds now: see proc(5).
    with contextlib.suppress(OSError):
        (PROC / "clear_refs").write_text("5")


def _peak(device: torch.device) -> int | None:
    if device.type == "cuda":  # uncovered: needs a CUDA device
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    try:
        lines = (PROC / "status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return found[0] * 1024 if found else None
