"""Memory for large tensors on a processor, which is used again once they are let go.

The first touch of memory costs more than what is computed into it. A page of 4 KiB was measured at a
millionth of a second, and can be written in a fifth of that; where a virtual machine had handed unused
memory back to its host, at eight millionths. Torch and numpy give large memory back to the system with every
tensor that is let go, and so pay anew at each call.
"""

from __future__ import annotations

import threading
import weakref
from math import prod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

REUSED_FROM = 1 << 20
"""From so many bytes on; the memory of smaller tensors is not given back by the C library."""

MOST_KEPT = 1 << 29
"""How many bytes are kept at most while no tensor uses them."""

LOOSE = 2
"""A tensor gets memory that is at most so many times as large as it needs."""

ALIGNED = 1 << 21
"""On which multiples of bytes large memory begins: those of huge pages, which numpy asks the system for."""

ALIGNED_FROM = 16
"""From so many huge pages on; of smaller memory the part of a page that is left over counts."""

PAGE = 1 << 12
"""How many bytes a page has at least."""

_kept: list[NDArray[np.uint8]] = []
_taking = threading.Lock()


def empty(like: Tensor, *shape: int) -> Tensor:
    """A tensor of this shape, of the dtype and on the device of `like`, with anything in it."""
    needed = prod(shape) * like.itemsize
    if like.device.type != "cpu" or needed < REUSED_FROM:
        return like.new_empty(shape)
    import torch

    memory = _taken(needed)
    if memory is None:
        memory = _fresh(needed)
        if torch.get_num_threads() > 1:
            # Threads that first touch a huge page together both clear it: each gets half of the pages.
            torch.from_numpy(memory)[::PAGE].zero_()
    lent = memory[:needed]
    found = torch.from_numpy(lent)  # which holds `lent` for as long as any tensor is on its memory
    weakref.finalize(lent, _keep, memory).atexit = False
    return found.view(like.dtype).view(shape)


def duplicated(tensor: Tensor) -> Tensor:
    """A copy of the numbers of a tensor, without its history."""
    import torch

    plain = type(tensor) in {torch.Tensor, torch.nn.Parameter} and tensor.layout is torch.strided
    if not plain or tensor.is_conj() or tensor.is_neg():
        return tensor.detach().clone()
    with torch.no_grad():
        return empty(tensor, *tensor.shape).copy_(tensor)


def kept() -> int:
    """How many bytes are kept, and used by no tensor."""
    return sum(memory.nbytes for memory in _kept)


def release() -> None:
    """Give all memory back to the system that no tensor uses."""
    with _taking:
        _kept.clear()


def _keep(memory: NDArray[np.uint8]) -> None:
    # It may run at any time, while this thread takes memory too: it does not wait for the lock.
    if memory.nbytes + kept() <= MOST_KEPT:
        _kept.append(memory)


def _taken(needed: int) -> NDArray[np.uint8] | None:
    """The smallest memory that will do. If there is none, as much is given back as will be taken."""
    with _taking:
        sizes = [memory.nbytes for memory in _kept]
        fitting = [index for index, size in enumerate(sizes) if needed <= size <= LOOSE * needed]
        if fitting:
            return _kept.pop(min(fitting, key=sizes.__getitem__))
        while _kept and needed > 0:
            needed -= _kept.pop(0).nbytes
        return None


def _fresh(needed: int) -> NDArray[np.uint8]:
    if needed < ALIGNED_FROM * ALIGNED:
        return np.empty(needed, dtype=np.uint8)
    whole = np.empty(needed + ALIGNED, dtype=np.uint8)
    start = -whole.ctypes.data % ALIGNED
    return whole[start : start + needed]
