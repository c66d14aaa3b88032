"""Unit gradients that are formed (`Formed`), and those that are one outer product each (`OuterProduct`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from suite.engines.streaming import following
from suite.engines.streaming.following import Followed
from suite.engines.streaming.layer_gradients import (
    RANDOM_COLUMNS,
    CoefficientRows,
    formed_beside,
    random_signs,
)
from suite.engines.streaming.syrk import add_square, blocks
from suite.engines.unit_gradients import Beside, Blocks, as_rows

SMALL_LAYER = 4096
"""Fewer parameters than that share one product with others."""

LEAST, MIXED = 20, 2
"""What a sum over few units costs at least, and what one over sums costs, in units summed over: measured."""


@dataclass(frozen=True)
class Formed:
    """Unit gradients that are in memory.

    Args:
        blocks: by parameter name, `[units, *parameter.shape]`.
    """

    blocks: Blocks

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""
        return tuple(self.blocks)

    @property
    def size(self) -> int:
        """How many numbers they have."""
        return sum(block.numel() for block in self.blocks.values())

    def gram(self, total: Tensor) -> None:
        """`Σ G Gᵀ` over the parameters."""
        flat = [as_rows(block) for block in self.blocks.values()]
        small = [block for block in flat if block.shape[1] < SMALL_LAYER]
        if len(small) > 1:
            flat = [torch.cat(small, dim=1), *(block for block in flat if block.shape[1] >= SMALL_LAYER)]
        for block in flat:
            add_square(total, block)

    def reduce(self, rows: CoefficientRows, into: Mapping[str, Tensor]) -> None:
        """`rows @ G`."""
        for name, block in self.blocks.items():
            torch.mm(rows.tensor, as_rows(block), out=as_rows(into[name]))

    def beside(self, rows: CoefficientRows, other: Blocks) -> Iterator[Beside]:
        """`rows @ G` of one row beside other gradients."""
        return formed_beside(self, rows, other)

    def project(self, vector: Blocks) -> Tensor:
        """`G v`."""
        parts = [as_rows(block) @ vector[name].flatten() for name, block in self.blocks.items()]
        return torch.stack(parts).sum(0)

    def formed(self) -> Blocks:
        """The blocks themselves."""
        return self.blocks


@dataclass(frozen=True)
class OuterProduct:
    """A linear layer on one vector a sample: `G_u = b_u a_uᵀ`, which is never formed.

    `K = (A Aᵀ) ∘ (B Bᵀ)`, and a bias adds one to each entry of `A Aᵀ`.

    Args:
        weight: its name, or None where it is not trained.
        bias: the same.
        a: `[samples, inputs]`.
        b: `[samples · parts, outputs]`, part by part within a sample.
    """

    weight: str | None
    bias: str | None
    a: Tensor
    b: Tensor

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""
        return tuple(name for name in (self.weight, self.bias) if name is not None)

    @property
    def _parts(self) -> int:
        return len(self.b) // max(len(self.a), 1)

    def gram(self, total: Tensor) -> None:
        """`(A Aᵀ + 1) ∘ (B Bᵀ)`."""
        a = self._inputs()
        for some, before in blocks(len(self.b), self.b.device):
            into = total[some, before]
            if self.weight is None:
                into.addmm_(self.b[some], self.b[before].T)
                continue
            products, inputs = self.b[some] @ self.b[before].T, a[some] @ a[before].T
            into.addcmul_(products, inputs.add_(1) if self.bias is not None else inputs)

    def _inputs(self) -> Tensor:
        """`[units, inputs]`."""
        return self.a if self._parts == 1 else self.a.repeat_interleave(self._parts, 0)

    def reduce(self, rows: CoefficientRows, into: Mapping[str, Tensor]) -> None:
        """`Σ_u c_u b_u a_uᵀ`, one product a row, over the units that it does not leave out."""
        a = self._inputs()
        if self.bias is not None:
            torch.mm(rows.tensor, self.b, out=into[self.bias])
        if self.weight is None:
            return
        large = self.b.shape[1] * a.shape[1] >= SMALL_LAYER
        for row, some, target in zip(rows.tensor, rows.support, into[self.weight], strict=True):
            if some is not None and large:
                torch.mm((self.b[some] * row[some, None]).T, a[some], out=target)
            else:
                torch.mm((self.b * row[:, None]).T, a, out=target)

    def combine(self, rows: CoefficientRows, mix: Tensor, into: Mapping[str, Tensor]) -> None:
        """`mix @ rows @ G`, some outputs at a time: the few sums stay in the cache until they are mixed.

        Args:
            rows: what units are summed with.
            mix: `[results, rank]`.
            into: `[results, *parameter.shape]` by parameter.
        """
        units, (results, rank) = len(self.b), mix.shape
        summed = sum(max(LEAST, units if some is None else len(some)) for some in rows.support)
        if self.weight is None or summed + MIXED * results * rank >= results * max(LEAST, units):
            self.reduce(CoefficientRows(mix @ rows.tensor, (None,) * results), into)
            return
        if self.bias is not None:
            torch.mm(mix @ rows.tensor, self.b, out=into[self.bias])
        a, target = self._inputs(), into[self.weight]
        outputs, inputs = self.b.shape[1], a.shape[1]
        terms = [
            ((self.b * row[:, None]).T, a) if some is None else ((self.b[some] * row[some, None]).T, a[some])
            for row, some in zip(rows.tensor, rows.support, strict=True)
        ]
        step = max(1, min(outputs, following.in_cache() // max(1, len(terms) * inputs)))
        sums = self.b.new_empty(len(terms), step, inputs)
        for start in range(0, outputs, step):
            stop = min(start + step, outputs)
            part = sums.view(-1)[: len(terms) * (stop - start) * inputs].view(
                len(terms), stop - start, inputs
            )
            for (weighted, given), one in zip(terms, part, strict=True):
                torch.mm(weighted[start:stop], given, out=one)
            torch.mm(mix, part.flatten(1), out=target[:, start:stop].flatten(1))

    def follow(self, links: Followed, into: Mapping[str, Tensor]) -> None:
        """The reduced gradients, each a multiple of one before it and a sum over few units."""
        if self.bias is not None:
            torch.mm(links.rows, self.b, out=into[self.bias])
        if self.weight is not None:
            links.write(self._inputs(), self.b, into[self.weight])

    def beside(self, rows: CoefficientRows, other: Blocks) -> Iterator[Beside]:
        """`Σ_u c_u b_u a_uᵀ S` of random columns `S` beside other gradients times `S`."""
        weighted = self.b * rows.tensor[0, :, None]
        if self.bias is not None:
            yield Beside(self.bias, weighted.sum(0), other[self.bias])
        if self.weight is None:
            return
        a, theirs, whole = self._inputs(), other[self.weight], self.a.shape[1] <= RANDOM_COLUMNS
        if not whole:
            columns = random_signs(a.shape[1], a)
            a, theirs = a @ columns, theirs @ columns
        yield Beside(self.weight, weighted.T @ a, theirs, whole)

    def project(self, vector: Blocks) -> Tensor:
        """`b_uᵀ V a_u`."""
        total = self.b.new_zeros(len(self.b))
        if self.weight is not None:
            through = (self.a @ vector[self.weight].T).repeat_interleave(self._parts, 0)
            total += (through * self.b).sum(1)
        if self.bias is not None:
            total += self.b @ vector[self.bias]
        return total

    def formed(self) -> Blocks:
        """`b_u a_uᵀ`."""
        a = self._inputs()
        found = {}
        if self.weight is not None:
            found[self.weight] = self.b[:, :, None] * a[:, None, :]
        if self.bias is not None:
            found[self.bias] = self.b
        return found
