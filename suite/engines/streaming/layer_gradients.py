"""What a layer adds to the Gram matrix and to the reduced gradients, in whatever form costs least."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from suite.engines.unit_gradients import Blocks

FEW = 0.75
"""Up to this share of the units, picking them out costs less than summing over the others as well."""


@dataclass(frozen=True)
class CoefficientRows:
    """What units are summed with.

    Args:
        tensor: `[rank, units]`.
        support: by row, the units that take part; None where nearly all do.
    """

    tensor: Tensor
    support: tuple[Tensor | None, ...]

    def __len__(self) -> int:
        return len(self.tensor)

    @classmethod
    def of(cls, values: NDArray[np.float64], like: Tensor) -> CoefficientRows:
        """The rows of `values` `[rank, units]`, of the dtype and on the device of `like`."""
        some = [row.nonzero()[0] for row in values]
        few = [index if len(index) <= FEW * values.shape[1] else None for index in some]
        support = tuple(None if index is None else torch.from_numpy(index).to(like.device) for index in few)
        return cls(torch.from_numpy(np.ascontiguousarray(values)).to(like), support)


class LayerGradients(Protocol):
    """The unit gradients of some parameters."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""

    def gram(self, total: Tensor) -> None:
        """Add the lower triangle of the parameters' part of the Gram matrix to `total` `[units, units]`."""

    def reduce(self, rows: CoefficientRows, into: Mapping[str, Tensor]) -> None:
        """Write `rows @ G` `into` `[rank, *parameter.shape]` by parameter."""

    def project(self, vector: Blocks) -> Tensor:
        """`[units]` the inner products `G v` with one more gradient."""

    def formed(self) -> Blocks:
        """`[units, *parameter.shape]` by parameter."""
