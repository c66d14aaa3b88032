"""What a layer adds to the Gram matrix and to the reduced gradients, without or with its gradients.

A piece holds some parameters' unit gradients in the form that costs least: formed (`Formed`), as the
outer product of one input and one output gradient (`Outer`), as a sum of outer products over positions
(`Positions`: sequences and convolutions), or as rows of a lookup table (`Lookup`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from suite.engines.streaming.memory import add_square, blocks, empty

Blocks = Mapping[str, Tensor]


@dataclass(frozen=True)
class Rows:
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
    def of(cls, values: NDArray[np.float64], like: Tensor) -> Rows:
        """The rows of `values` `[rank, units]`, of the dtype and on the device of `like`."""
        some = [row.nonzero()[0] for row in values]
        few = [index if len(index) <= FEW * values.shape[1] else None for index in some]
        support = tuple(None if index is None else torch.from_numpy(index).to(like.device) for index in few)
        return cls(torch.from_numpy(np.ascontiguousarray(values)).to(like), support)


FEW = 0.75
"""Up to this share of the units, picking them out costs less than summing over the others as well."""


class Piece(Protocol):
    """The unit gradients of some parameters."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""

    def gram(self, total: Tensor) -> None:
        """Add the lower triangle of the parameters' part of the Gram matrix to `total` `[units, units]`."""

    def reduce(self, rows: Rows, into: Mapping[str, Tensor]) -> None:
        """Write `rows @ G` `into` `[rank, *parameter.shape]` by parameter."""

    def project(self, vector: Blocks) -> Tensor:
        """`[units]` the inner products `G v` with one more gradient."""

    def formed(self) -> Blocks:
        """`[units, *parameter.shape]` by parameter."""


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
        flat = [block.flatten(1) for block in self.blocks.values()]
        small = [block for block in flat if block.shape[1] < SMALL]
        if len(small) > 1:
            flat = [torch.cat(small, dim=1), *(block for block in flat if block.shape[1] >= SMALL)]
        for block in flat:
            add_square(total, block)

    def reduce(self, rows: Rows, into: Mapping[str, Tensor]) -> None:
        """`rows @ G`."""
        for name, block in self.blocks.items():
            into[name].flatten(1).copy_(rows.tensor @ block.flatten(1))

    def project(self, vector: Blocks) -> Tensor:
        """`G v`."""
        parts = [block.flatten(1) @ vector[name].flatten() for name, block in self.blocks.items()]
        return torch.stack(parts).sum(0)

    def formed(self) -> Blocks:
        """The blocks themselves."""
        return self.blocks


SMALL = 4096
"""Fewer parameters than that share one product with others."""


@dataclass(frozen=True)
class Outer:
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

    def reduce(self, rows: Rows, into: Mapping[str, Tensor]) -> None:
        """`Σ_u c_u b_u a_uᵀ`, one product a row, over the units that it does not leave out."""
        a = self._inputs()
        if self.bias is not None:
            into[self.bias].copy_(rows.tensor @ self.b)
        if self.weight is None:
            return
        large = self.b.shape[1] * a.shape[1] >= SMALL
        for row, some, target in zip(rows.tensor, rows.support, into[self.weight], strict=True):
            if some is not None and large:
                torch.mm((self.b[some] * row[some, None]).T, a[some], out=target)
            else:
                torch.mm((self.b * row[:, None]).T, a, out=target)

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


class Patches(Protocol):
    """The inputs that a layer's weight meets, sample by sample."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """`(samples, groups, inputs, positions)`."""

    @property
    def grain(self) -> int:
        """How many inputs belong together."""

    def slices(self, first: int, last: int) -> Iterator[tuple[slice, Tensor]]:
        """Some samples at a time: which, and `[some, groups, last − first, positions]` of their inputs.

        The tensor is overwritten by the next.
        """


@dataclass(frozen=True)
class Held:
    """Patches that are in memory.

    Args:
        tensor: `[samples, groups, inputs, positions]`.
    """

    tensor: Tensor

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the tensor."""
        samples, groups, inputs, positions = self.tensor.shape
        return samples, groups, inputs, positions

    @property
    def grain(self) -> int:
        """Any number of inputs."""
        return 1

    def slices(self, first: int, last: int) -> Iterator[tuple[slice, Tensor]]:
        """All samples at once."""
        yield slice(0, len(self.tensor)), self.tensor[:, :, first:last]


@dataclass(frozen=True)
class Positions:
    """A weight that meets its input at many positions: `G_u = Σ_t b_ut a_utᵀ`.

    `K` comes from the gradients of a few outputs at a time, formed in a buffer, or from the inner
    products of all positions, whichever has fewer operations.

    Args:
        weight: its name.
        shape: of the weight.
        a: its inputs.
        b: `[samples, parts, groups, outputs, positions]`.
        buffer: how many numbers may be formed at a time.
    """

    weight: str
    shape: tuple[int, ...]
    a: Patches
    b: Tensor
    buffer: int

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameter."""
        return (self.weight,)

    @property
    def units(self) -> int:
        """Samples × parts."""
        return self.b.shape[0] * self.b.shape[1]

    @property
    def size(self) -> int:
        """How many numbers the gradients have, once formed."""
        return self.units * prod(self.shape)

    @property
    def inner(self) -> bool:
        """Whether inner products over positions have fewer operations than forming the gradients."""
        _, parts, groups, outputs, positions = self.b.shape
        inputs = self.a.shape[2]
        weights = groups * outputs * inputs
        forming = self.units * positions * weights + self.units**2 * weights
        # The products are read and written several times more on their way to the sum.
        rows = self.units * positions
        products = rows**2 * groups * (outputs + inputs / parts**2 + 16)
        return products < forming

    def gram(self, total: Tensor) -> None:
        """`Σ_st (a_us · a_vt)(b_us · b_vt)`, or `G Gᵀ` some inputs at a time."""
        if self.inner:
            self._products(total)
            return
        for _, formed in self._columns():
            add_square(total, formed.view(self.units, -1))

    def _products(self, total: Tensor) -> None:
        _, parts, groups, outputs, positions = self.b.shape
        a = torch.cat([part.clone() for _, part in self.a.slices(0, self.a.shape[2])])
        a = a.permute(1, 0, 3, 2).repeat_interleave(parts, 1).flatten(1, 2)
        b = self.b.permute(2, 0, 1, 4, 3).reshape(groups, self.units * positions, outputs)
        step = max(1, self.buffer // max(1, 2 * groups * positions * self.units * positions))
        for start in range(0, self.units, step):
            stop = min(start + step, self.units)
            rows, before = slice(start * positions, stop * positions), slice(0, stop * positions)
            products = (a[:, rows] @ a[:, before].mT).mul_(b[:, rows] @ b[:, before].mT)
            block = products.unflatten(2, (stop, positions)).unflatten(1, (-1, positions))
            total[start:stop, :stop] += block.sum((0, 2, 4))

    def _columns(self) -> Iterator[tuple[slice, Tensor]]:
        """Some inputs at a time: which, and `[units, groups, outputs, some]` the gradients of their weights.

        The tensor is overwritten by the next.
        """
        _, _, groups, outputs, _ = self.b.shape
        inputs, grain = self.a.shape[2], self.a.grain
        fitting = self.buffer // (self.units * groups * outputs * grain) * grain
        step = min(inputs, max(grain, fitting))
        buffer = empty(self.b, self.units * groups * outputs * step)
        for first in range(0, inputs, step):
            last = min(first + step, inputs)
            formed = buffer[: self.units * groups * outputs * (last - first)]
            formed = formed.view(self.units, groups, outputs, last - first)
            self._form(first, last, formed)
            yield slice(first, last), formed

    def _form(self, first: int, last: int, into: Tensor) -> None:
        """Write the gradients of the weights of inputs `first` to `last`."""
        samples, parts, groups, outputs, _ = self.b.shape
        into = into.view(samples, parts, groups, outputs, last - first)
        for some, a in self.a.slices(first, last):
            if groups == 1 and parts == 1:
                torch.bmm(self.b[some, 0, 0], a[:, 0].mT, out=into[some, 0, 0])
            else:
                into[some] = self.b[some] @ a[:, None].mT

    def reduce(self, rows: Rows, into: Mapping[str, Tensor]) -> None:
        """`rows @ G`, some inputs at a time."""
        _, _, groups, outputs, _ = self.b.shape
        target = into[self.weight].view(len(rows), groups, outputs, self.a.shape[2])
        for some, formed in self._columns():
            part = rows.tensor @ formed.view(self.units, -1)
            target[..., some] = part.view(len(rows), groups, outputs, -1)

    def project(self, vector: Blocks) -> Tensor:
        """`Σ_t b_utᵀ V a_ut`."""
        samples, parts, groups, outputs, _ = self.b.shape
        v = vector[self.weight].reshape(groups, outputs, self.a.shape[2])
        total = self.b.new_empty(samples, parts)
        for some, a in self.a.slices(0, self.a.shape[2]):
            total[some] = (self.b[some] * (v @ a)[:, None]).sum((2, 3, 4))
        return total.flatten()

    def formed(self) -> Blocks:
        """`Σ_t b_ut a_utᵀ`."""
        formed = empty(self.b, self.units, *self.shape)
        self._form(0, self.a.shape[2], formed)
        return {self.weight: formed}


@dataclass(frozen=True)
class Lookup:
    """A table of which each position reads one row: `G_u[v] = Σ_t [token_ut = v] b_ut`.

    Args:
        weight: its name.
        tokens: `[samples, positions]` the rows that are read; −1 where nothing is learnt from it.
        b: `[samples, parts, positions, width]`.
        height: of the table.
        buffer: how many numbers may be formed at a time.
    """

    weight: str
    tokens: Tensor
    b: Tensor
    height: int
    buffer: int

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameter."""
        return (self.weight,)

    def _read(self) -> tuple[Tensor, Tensor]:
        """The rows that are read at all, and `[samples, positions]` which of them each position reads."""
        rows, index = self.tokens.unique(return_inverse=True)
        return rows, index

    def _form(self, index: Tensor, height: int, columns: slice) -> Tensor:
        samples, parts, _, _ = self.b.shape
        b = self.b[..., columns]
        formed = self.b.new_zeros(samples * parts * height, b.shape[-1])
        units = torch.arange(samples * parts, device=b.device).view(samples, parts, 1)
        places = units * height + index[:, None, :]
        formed.index_add_(0, places.reshape(-1), b.reshape(-1, b.shape[-1]))
        return formed.view(samples * parts, height, -1)

    def gram(self, total: Tensor) -> None:
        """`G Gᵀ` of the rows that are read, some columns at a time."""
        rows, index = self._read()
        units, width = self.b.shape[0] * self.b.shape[1], self.b.shape[3]
        step = max(1, min(width, self.buffer // max(1, units * len(rows))))
        for start in range(0, width, step):
            formed = self._form(index, len(rows), slice(start, start + step))
            if rows[0] < 0:
                formed = formed[:, 1:]
            add_square(total, formed.flatten(1))

    def reduce(self, rows: Rows, into: Mapping[str, Tensor]) -> None:
        """`Σ_ut c_u b_ut`, added to the row that position `t` reads."""
        samples, parts, positions, width = self.b.shape
        learnt = (self.tokens >= 0)[:, None].expand(samples, parts, positions).reshape(-1)
        tokens = self.tokens[:, None].expand(samples, parts, positions).reshape(-1)[learnt]
        b = self.b.flatten(0, 1)
        for row, target in zip(rows.tensor, into[self.weight], strict=True):
            weighted = (b * row[:, None, None]).reshape(-1, width)[learnt]
            target.zero_().index_add_(0, tokens, weighted)

    def project(self, vector: Blocks) -> Tensor:
        """`Σ_t b_ut · v[token_ut]`."""
        read = vector[self.weight][self.tokens.clamp(min=0)] * (self.tokens >= 0)[..., None]
        return (self.b * read[:, None]).sum((2, 3)).flatten()

    def formed(self) -> Blocks:
        """The whole table for each unit."""
        rows, index = self._read()
        formed = self._form(index, len(rows), slice(None))
        if rows[0] < 0:
            rows, formed = rows[1:], formed[:, 1:]
        table = formed.new_zeros(len(formed), self.height, formed.shape[2])
        table[:, rows] = formed
        return {self.weight: table}
