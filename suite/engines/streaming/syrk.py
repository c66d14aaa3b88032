"""Symmetric rank-k updates (BLAS `syrk`): the lower triangle of `A Aᵀ`; and memory for large results."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

HUGE_PAGES = 1 << 22
"""How many bytes numpy asks the system for in huge pages."""

NUMPY = {torch.float32: np.float32, torch.float64: np.float64, torch.float16: np.float16}

NARROW, WIDE = 64, 128
"""How many rows of a symmetric product are computed at a time on a processor.

Narrow blocks save more of it; wide ones cost less overhead where little is summed over.
"""


def empty(like: Tensor, *shape: int) -> Tensor:
    """A tensor of this shape, of the dtype and on the device of `like`, with anything in it.

    Fresh memory costs more than what is computed into it: a processor's first touch of 4 KiB pages
    was measured at 3.8 GB/s, of the huge pages that numpy asks for at several times that.
    """
    found = NUMPY.get(like.dtype)
    if like.device.type == "cpu" and found and np.prod(shape) * like.itemsize >= HUGE_PAGES:
        return torch.from_numpy(np.empty(shape, dtype=found))
    return like.new_empty(shape)


def blocks(rows: int, device: torch.device, step: int = WIDE) -> list[tuple[slice, slice]]:
    """Row and column ranges that cover the lower triangle of `[rows, rows]`.

    One block on an accelerator, which has nothing to gain from less work in smaller pieces.
    """
    step = step if device.type == "cpu" else max(rows, 1)
    return [
        (slice(start, min(start + step, rows)), slice(0, min(start + step, rows)))
        for start in range(0, rows, step)
    ]


def add_square(total: Tensor, flat: Tensor) -> None:
    """Add the lower triangle of `flat @ flat.T`."""
    for some, before in blocks(len(flat), flat.device, NARROW):
        total[some, before].addmm_(flat[some], flat[before].T)


def mirror(total: Tensor) -> None:
    """Fill in the upper triangle from the lower, whatever stands there: layers may leave it out."""
    for some, _ in blocks(len(total), total.device, NARROW):
        total[: some.start, some] = total[some, : some.start].T
        square = total[some, some]
        square.copy_(square.tril() + square.tril(-1).T)
