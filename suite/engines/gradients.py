"""What every engine hands over: the gradients of the units, behind two verbs, `gram` and `reduce`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from suite.engines.basis import basis
from suite.gram import Gram


class UnitGradients(Protocol):
    """The gradients of the units of one batch, formed or not."""

    @property
    def shape(self) -> tuple[int, int]:
        """`(units, params)`."""

    def gram(self) -> Gram:
        """`[units, units]` in float64: `G Gᵀ`."""

    def reduce(self, coefficients: ArrayLike) -> Tensor:
        """`[conventions, params]` the reduced gradients `C G` of coefficients `[conventions, units]`."""

    def directions(self, coefficients: ArrayLike) -> tuple[Tensor, Tensor]:
        """`[conventions, rank]` and `[rank, params]`, whose product the reduced gradients are.

        A hundred conventions take no more memory than the few directions that they span.
        """

    def append(self, unit: Mapping[str, Tensor]) -> UnitGradients:
        """The same with one more unit, its gradient given by parameter."""

    @property
    def blocks(self) -> Mapping[str, Tensor]:
        """By parameter name, `[units, *parameter.shape]`: all gradients, formed."""


@dataclass(frozen=True)
class Materialised:
    """Unit gradients held in memory, one block a parameter.

    Args:
        blocks: by parameter name, `[units, *parameter.shape]`.
    """

    blocks: Mapping[str, Tensor]

    @property
    def shape(self) -> tuple[int, int]:
        """`(units, params)`."""
        blocks = list(self.blocks.values())
        return blocks[0].shape[0], sum(block[0].numel() for block in blocks)

    def gram(self) -> Gram:
        """`[units, units]` in float64: `G Gᵀ`, added up parameter by parameter."""
        total: Gram = np.zeros((self.shape[0], self.shape[0]))
        for block in self.blocks.values():
            rows = block.flatten(1)
            # A device without float64 (mps) hands its rows to the processor.
            rows = rows.cpu().double() if rows.device.type == "mps" else rows.double()
            total += (rows @ rows.T).cpu().numpy()
        return total

    def reduce(self, coefficients: ArrayLike) -> Tensor:
        """`[conventions, params]` the reduced gradients `C G` of coefficients `[conventions, units]`."""
        first = next(iter(self.blocks.values()))
        weights = torch.as_tensor(np.atleast_2d(np.asarray(coefficients, dtype=np.float64)))
        weights = weights.to(device=first.device, dtype=first.dtype)
        return torch.cat([weights @ block.flatten(1) for block in self.blocks.values()], dim=1)

    def directions(self, coefficients: ArrayLike) -> tuple[Tensor, Tensor]:
        """`[conventions, rank]` and `[rank, params]`, whose product the reduced gradients are."""
        spanned = basis(coefficients)
        found = self.reduce(spanned.rows)
        return torch.as_tensor(spanned.weights).to(found), found

    def append(self, unit: Mapping[str, Tensor]) -> Materialised:
        """The same with one more unit, its gradient given by parameter."""
        return Materialised({
            name: torch.cat([block, unit[name].unsqueeze(0)]) for name, block in self.blocks.items()
        })  # fmt: skip
