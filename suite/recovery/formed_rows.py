"""The gradients of samples by some small parameters, formed: what the weights of samples are solved on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class FormedRows:
    """Gradients in memory.

    Args:
        blocks: by parameter name, `[units, *parameter.shape]`.
    """

    blocks: Mapping[str, Tensor]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""
        return tuple(self.blocks)

    @property
    def size(self) -> int:
        """How many parameters there are."""
        return sum(block[0].numel() for block in self.blocks.values())

    def square(self, units: int) -> Tensor:
        """`[units]` the squared norms of the units' gradients."""
        first = next(iter(self.blocks.values()))
        total = first.new_zeros(units, dtype=torch.float64)
        for block in self.blocks.values():
            total += _flat(block).square().sum(1)
        return total

    def add_gram(self, total: Tensor) -> None:
        """Add the lower triangle of the Gram matrix to `total`."""
        for block in self.blocks.values():
            rows = _flat(block)
            total.addmm_(rows, rows.T)

    def project(self, gradient: Mapping[str, Tensor], units: int) -> Tensor:
        """`[units]` in float64: the inner products of the units' gradients with one more."""
        first = next(iter(self.blocks.values()))
        total = first.new_zeros(units, dtype=torch.float64)
        for name, block in self.blocks.items():
            total += _flat(block) @ gradient[name].double().flatten()
        return total

    def subtract(self, column: Tensor, left: Mapping[str, Tensor]) -> None:
        """Take the gradient of the units so weighted away from `left`, contiguous and in float64."""
        for name, block in self.blocks.items():
            left[name].view(-1).sub_(column @ _flat(block))

    def renumbered(self, place: Tensor) -> FormedRows:
        """The same with unit `u` called `place[u]`, in that order, without the units that are at −1."""
        kept = (place >= 0).nonzero()[:, 0]
        return FormedRows({name: block[kept] for name, block in self.blocks.items()})

    def grouped(self, group: Tensor, weights: Tensor) -> FormedRows:
        """The gradients of groups of units: `Σ weights[u] g_u` over the units of each group."""
        count = int(group.max()) + 1
        blocks = {}
        for name, block in self.blocks.items():
            rows = _flat(block) * weights.to(block.device)[:, None]
            total = rows.new_zeros(count, rows.shape[1]).index_add_(0, group.to(block.device), rows)
            blocks[name] = total.view(count, *block.shape[1:])
        return FormedRows(blocks)

    def sketch(
        self,
        units: int,  # noqa: ARG002  each has a row
        directions: int,
        generator: torch.Generator,
        last: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """`[directions, units]` inner products with random directions; see `UnitRows.sketch`."""
        total = torch.zeros((), dtype=torch.float64, device="cpu")
        for name, block in self.blocks.items():
            rows = _flat(block)
            if last is not None:
                rows = torch.cat([rows, last[name].double().flatten()[None]])
            random = torch.randn(
                directions, rows.shape[1], generator=generator, dtype=torch.float64, device="cpu"
            )
            total = total.to(rows.device) + random.to(rows.device) @ rows.T
        return total / float(directions**0.5)


def _flat(block: Tensor) -> Tensor:
    return block.unsqueeze(1).flatten(1).double()
