"""Norms of gradients in float64, and whether they are finite, some numbers at a time.

A second copy of a large gradient, in float64 or squared, takes longer to be allocated than to be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

AT_A_TIME, ON_DEVICE = 1 << 17, 1 << 24
"""How many numbers are made float64 at a time."""


def root_of_sum(squares: Iterable[Tensor]) -> float:
    """The root of the sum of these numbers, wherever they are: layers may be on several devices."""
    found = list(squares)
    return float(torch.stack([square.to(found[0].device) for square in found]).sum().sqrt())


def square(part: Tensor, other: Tensor | None = None) -> Tensor:
    """The sum of squares of `part`, or of `part − other`, in float64, still on its device."""
    total = torch.zeros((), dtype=torch.float64, device=part.device)
    others = _pieces(other) if other is not None else None
    for piece in _pieces(part):
        wide = piece.double()
        if others is not None:
            wide = wide - next(others).double()
        total += wide @ wide
    return total


def _pieces(part: Tensor) -> Iterator[Tensor]:
    yield from part.detach().flatten().split(AT_A_TIME if part.device.type == "cpu" else ON_DEVICE)


def norm_of_all(parts: Iterable[Tensor]) -> float:
    """The norm of all these tensors together, in float64."""
    return root_of_sum([square(part) for part in parts])


def all_finite(part: Tensor) -> bool:
    """Whether no number is nan or infinite: then nor is their sum, unless it is too large."""
    return bool(torch.isfinite(part.sum())) or bool(torch.isfinite(part).all())
