"""What a linear map learns from units that have rows of their own: outer products, never all formed.

A row is one call of the map on one vector. Where the losses of one unit alone reach its output, its outer
product belongs to that unit: `G_u = Σ_r b_r a_rᵀ` over the rows `r` of unit `u`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

NUMBERS = 1 << 22
"""How many numbers in float64 are formed at a time."""

RAGGED = 4
"""Up to so many times as many rows as there are, units are given as many rows as the longest has."""


@dataclass(frozen=True, eq=False)
class UnitRows:
    """The rows of one linear map, and the units that they belong to.

    Args:
        weight: the name of its matrix.
        bias: the name of its bias, or None where it has none, or one that others use too.
        turned: whether the matrix is `[inputs, outputs]`, as in GPT-2, and not `[outputs, inputs]`.
        a: `[rows, inputs]`.
        b: `[rows, outputs]` the gradient of its unit's loss by the output.
        unit: `[rows]` the unit of each row, in order.
        in_turn: whether the map was called on a row for each unit, in their order.
    """

    weight: str
    bias: str | None
    turned: bool
    a: Tensor
    b: Tensor
    unit: Tensor
    in_turn: bool = False

    @property
    def work(self) -> int:
        """Multiplications that the Gram matrix takes."""
        products = len(self.unit) ** 2 * (self.a.shape[1] + self.b.shape[1])
        return products if self._single else min(products, self._forming)

    @property
    def size(self) -> int:
        """How many parameters it has."""
        return self.a.shape[1] * self.b.shape[1]

    @property
    def heard(self) -> Tensor:
        """The units that have rows, in order."""
        found: Tensor = self.unit.unique()
        return found

    @cached_property
    def _single(self) -> bool:
        """Whether no unit has two rows."""
        return len(self.heard) == len(self.unit)

    def square(self, units: int) -> Tensor:
        """`[units]` the squared norms of the units' gradients."""
        if self._single:
            squares = self._inputs().square().sum(1) * self.b.double().square().sum(1)
            return squares.new_zeros(units).index_add_(0, self.unit, squares)
        if self.work < self._forming:
            return self.gram(units).diagonal().clone()
        return torch.stack([formed.square().sum(1) for formed in self._formed(units)]).sum(0)

    def gram(self, units: int) -> Tensor:
        """`[units, units]` in float64, the lower triangle: `Σ_rs (a_r · a_s)(b_r · b_s)`."""
        total = self.a.new_zeros(units, units, dtype=torch.float64)
        self.add_gram(total)
        return total

    def add_gram(self, total: Tensor) -> None:
        """Add the lower triangle of the Gram matrix to `total`."""
        if self._single or self.work < self._forming:
            self._add_products(total)
        else:
            for formed in self._formed(len(total)):
                total.addmm_(formed, formed.T)

    @property
    def _forming(self) -> int:
        return self.size * (len(self.unit) + len(self.heard) ** 2)

    def _add_products(self, total: Tensor) -> None:
        a, b, rows = self._inputs(), self.b.double(), len(self.unit)
        step = max(1, min(512, NUMBERS // max(1, rows)))
        whole = self._single and rows == len(total)
        for start in range(0, rows, step):
            some, before = slice(start, start + step), slice(0, min(start + step, rows))
            products = (a[some] @ a[before].T).mul_(b[some] @ b[before].T)
            if whole:
                total[some, before] += products
                continue
            if not self._single:  # two rows of one unit meet on either side of the diagonal
                row = torch.arange(start, min(start + step, rows), device=a.device)[:, None]
                column = torch.arange(before.stop, device=a.device)[None]
                same = (self.unit[some][:, None] == self.unit[before][None]) & (column < row)
                products = torch.where(same, 2 * products, products.masked_fill_(column > row, 0.0))
            into = total.new_zeros(len(products), total.shape[1]).index_add_(1, self.unit[before], products)
            total.index_add_(0, self.unit[some], into)

    def _formed(self, units: int) -> Iterator[Tensor]:
        """`[units, …]` the units' gradients, of some inputs at a time."""
        a, b = self._inputs(), self.b.double()
        counts = torch.bincount(self.unit, minlength=units)
        most = int(counts.max())
        if units * most <= RAGGED * len(a):  # as many rows for each unit, filled up with zeros
            first = (counts.cumsum(0) - counts)[self.unit]
            place = self.unit, torch.arange(len(a), device=a.device) - first
            a, b = (part.new_zeros(units, most, part.shape[1]).index_put_(place, part) for part in (a, b))
            step = max(1, NUMBERS // (units * b.shape[2]))
            for start in range(0, a.shape[2], step):
                yield torch.bmm(b.mT, a[:, :, start : start + step]).flatten(1)
            return
        step = max(1, NUMBERS // (max(units, len(a)) * b.shape[1]))
        for start in range(0, a.shape[1], step):
            outer = (b[:, :, None] * a[:, None, start : start + step]).flatten(1)
            yield outer.new_zeros(units, outer.shape[1]).index_add_(0, self.unit, outer)

    def project(self, gradient: dict[str, Tensor], units: int) -> Tensor:
        """`[units]` in float64: the inner products of the units' gradients with one more, `b_rᵀ V a_r`."""
        weight = gradient[self.weight].double()
        through = self.a.double() @ (weight if self.turned else weight.flatten(1).T)
        if self.bias is not None:
            through += gradient[self.bias].double()
        inner = through.mul_(self.b.double()).sum(1)
        return inner.new_zeros(units).index_add_(0, self.unit, inner)

    def subtract(self, column: Tensor, left: Mapping[str, Tensor]) -> None:
        """Take the gradient of the units so weighted away from `left`, contiguous and in float64."""
        b, a = self.b.double() * column[self.unit][:, None], self.a.double()
        one, other = (a, b) if self.turned else (b, a)
        left[self.weight].view(one.shape[1], -1).addmm_(one.T, other, alpha=-1.0)
        if self.bias is not None:
            left[self.bias].view(-1).sub_(b.sum(0))

    @property
    def names(self) -> tuple[str, ...]:
        """Of its parameters."""
        return (self.weight,) if self.bias is None else (self.weight, self.bias)

    def moved(self, by: int) -> UnitRows:
        """The same with unit `u` called `u + by`."""
        return replace(self, unit=self.unit + by)

    def renumbered(self, place: Tensor) -> UnitRows:
        """The same with unit `u` called `place[u]`, in that order, without the units that are at −1."""
        unit = place[self.unit]
        kept = unit >= 0
        order = unit[kept].argsort(stable=True)
        return replace(
            self, a=self.a[kept][order], b=self.b[kept][order], unit=unit[kept][order]
        )  # fmt: skip

    def grouped(self, group: Tensor, weights: Tensor) -> UnitRows:
        """The rows of groups of units: unit `u`, times `weights[u]`, belongs to group `group[u]`.

        Args:
            group: `[units]`.
            weights: `[units]`.
        """
        order = group[self.unit].argsort(stable=True)
        unit = self.unit[order]
        b = self.b[order] * weights[unit].to(self.b)[:, None]
        return replace(self, a=self.a[order], b=b, unit=group[unit], in_turn=False)

    def sketch(
        self,
        units: int,
        directions: int,
        generator: torch.Generator,
        last: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """`[directions, units]` inner products of the units' gradients with random outer products `s tᵀ`.

        Their squares are those of the gradients in the mean, since `⟨b aᵀ, s tᵀ⟩ = (b · s)(a · t)`.

        Args:
            units: how many units there are.
            directions: how many outer products.
            generator: of the random numbers.
            last: one more gradient, which becomes the last column.
        """
        a, b = self._inputs(), self.b.double()
        t, s = (_random(part.shape[1], directions, generator).to(part) for part in (a, b))
        inner = (a @ t).mul_(b @ s)
        found = inner.new_zeros(units, directions).index_add_(0, self.unit, inner)
        if last is not None:
            matrix = last[self.weight].double()
            matrix = matrix.T if self.turned else matrix.flatten(1)
            if self.bias is not None:
                matrix = torch.cat([matrix, last[self.bias].double()[:, None]], dim=1)
            found = torch.cat([found, (s * (matrix @ t)).sum(0)[None]])
        return found.T / float(directions**0.5)

    def _inputs(self) -> Tensor:
        """`[rows, inputs]` in float64, with a one for the bias."""
        a = self.a.double()
        return a if self.bias is None else torch.cat([a, a.new_ones(len(a), 1)], dim=1)


def _random(size: int, directions: int, generator: torch.Generator) -> Tensor:
    return torch.randn(size, directions, generator=generator, dtype=torch.float64, device="cpu")
