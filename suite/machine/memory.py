"""Amounts of memory: as people write them, as they are told, and how much of it is free."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from suite.errors import UsageError

if TYPE_CHECKING:
    import torch

BYTE_PREFIXES = "kmgt"
BYTE_UNITS = ("B", "kB", "MB", "GB", "TB")
WRITTEN = re.compile(rf"(\d+(?:\.\d+)?|\.\d+)\s*(?:([{BYTE_PREFIXES}]?)(i?)b?)", re.IGNORECASE)
MEMINFO = Path("/proc/meminfo")
GROUP = Path("/sys/fs/cgroup")


def parse_bytes(given: int | str | None) -> int | None:
    """The bytes that were asked for: a number of them, or `500MB` or `2GiB`; None where nothing was.

    Raises:
        UsageError: It is no amount of memory, or not even one byte.
    """
    if given is None:
        return None
    found = WRITTEN.fullmatch(str(given).strip())
    if found is not None and not (found[3] and not found[2]):
        power = BYTE_PREFIXES.index(found[2].lower()) + 1 if found[2] else 0
        number = float(found[1]) * (1024 if found[3] else 1000) ** power
        if 1 <= number <= sys.maxsize:
            return int(found[1]) if not found[2] and found[1].isdigit() else int(number)
    raise UsageError(
        f"--memory takes a number of bytes, as 500000000, 500MB or 2GiB; {str(given)!r} was given"
    )


def format_bytes(count: int) -> str:
    """An amount for people, rounded up to three digits: `2.12 kB`, `500 MB`."""
    unit = 1
    while -(-count // unit) > 999:
        unit *= 10
    shown, power = -(-count // unit) * unit, 0
    while shown >= 1000 ** (power + 1) and power < len(BYTE_UNITS) - 1:
        power += 1
    return f"{shown / 1000**power:g} {BYTE_UNITS[power]}"


def free_bytes(device: torch.device) -> int:
    """How many bytes are free on `device`; without bound where nobody knows."""
    if device.type == "cuda":  # uncovered: needs a CUDA device
        import torch

        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    from suite.machine.buffers import kept

    return min(_of_the_machine(), _of_the_group()) + kept()


def _of_the_machine() -> int:
    try:
        _, _, available = MEMINFO.read_text().partition("MemAvailable:")
        return int(available.split(maxsplit=1)[0]) * 1024
    except (OSError, IndexError, ValueError):
        return sys.maxsize


def _of_the_group() -> int:
    """What a container may still take, where a limit is set for it."""
    try:
        limit, used = (int((GROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        return max(0, limit - used)
    except (OSError, ValueError):  # no such group, or "max": no limit
        return sys.maxsize
