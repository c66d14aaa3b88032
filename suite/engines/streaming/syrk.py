"""Symmetric rank-k updates (BLAS `syrk`): the lower triangle of `A Aᵀ`."""

from __future__ import annotations

import torch
from torch import Tensor

SPLIT, SHARED_FROM = 8, 1 << 13
"""A sum over so many numbers of each row or more is one of so many sums, which several threads share."""

NARROW, WIDE = 64, 128
"""How many rows of a symmetric product are computed at a time on a processor.

Narrow blocks save more of it; wide ones cost less overhead where little is summed over.
"""


MIRRORED = 512
"""So many rows are copied at a time."""


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
    numbers = flat.shape[1]
    shared = numbers - numbers % SPLIT if flat.device.type == "cpu" and numbers >= SHARED_FROM else 0
    pieces, rest = flat[:, :shared].unflatten(1, (SPLIT, -1)).transpose(0, 1), flat[:, shared:]
    for some, before in blocks(len(flat), flat.device, NARROW):
        into = total[some, before]
        if shared:
            into += torch.bmm(pieces[:, some], pieces[:, before].mT).sum(0)
        if shared < numbers:
            into.addmm_(rest[some], rest[before].T)


def mirror(total: Tensor) -> None:
    """Fill in the upper triangle from the lower, whatever stands there: layers may leave it out."""
    for some, _ in blocks(len(total), total.device, MIRRORED):
        total[: some.start, some] = total[some, : some.start].T
        square = total[some, some].tril_()
        whole = square + square.T
        whole.diagonal().copy_(square.diagonal())
        square.copy_(whole)
