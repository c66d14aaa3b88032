"""What a layer adds to the Gram matrix and to the reduced gradients, in whatever form costs least."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from suite.engines.unit_gradients import Beside, Blocks
from suite.machine.cuda import sent

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
        return cls(sent(np.ascontiguousarray(values), like), support)


class LayerGradients(Protocol):
    """The unit gradients of some parameters."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""

    def gram(self, total: Tensor) -> None:
        """Add the lower triangle of the parameters' part of the Gram matrix to `total` `[units, units]`."""

    def reduce(self, rows: CoefficientRows, into: Mapping[str, Tensor]) -> None:
        """Write `rows @ G` `into` `[rank, *parameter.shape]` by parameter."""

    def beside(self, rows: CoefficientRows, other: Blocks) -> Iterator[Beside]:
        """`rows @ G` of one row beside other gradients of the same parameters."""

    def project(self, vector: Blocks) -> Tensor:
        """`[units]` the inner products `G v` with one more gradient."""

    def formed(self) -> Blocks:
        """`[units, *parameter.shape]` by parameter."""


def formed_beside(layer: LayerGradients, rows: CoefficientRows, other: Blocks) -> Iterator[Beside]:
    """`rows @ G` of one row, formed, beside other gradients of the same parameters."""
    ours = {name: torch.empty_like(other[name]) for name in layer.names}
    layer.reduce(rows, {name: part.unsqueeze(0) for name, part in ours.items()})
    return (Beside(name, part, other[name]) for name, part in ours.items())


RANDOM_COLUMNS = 8
"""How many random columns tell two matrices apart: that they agree in all, and differ by four times as much
as they seem to, happens once in ten thousand times."""


def random_signs(inputs: int, like: Tensor) -> Tensor:
    """`[inputs, RANDOM_COLUMNS]` of random sign: `‖E S‖² / RANDOM_COLUMNS` is `‖E‖²` on average."""
    return _random_signs(inputs, like.dtype, like.device)


@lru_cache(32)
def _random_signs(inputs: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    draw = torch.Generator().manual_seed(inputs)
    # Rows that are read as columns: the products of a large matrix with few columns are faster so.
    signs = torch.randint(0, 2, (RANDOM_COLUMNS, inputs), generator=draw, device="cpu") * 2 - 1
    return signs.to(device, dtype).T
