"""Unit gradients that are sums of outer products over positions: of sequences, and of convolutions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Protocol

import torch
from torch import Tensor

from suite.engines.streaming.layer_gradients import (
    RANDOM_COLUMNS,
    CoefficientRows,
    formed_beside,
    random_signs,
)
from suite.engines.streaming.syrk import add_square
from suite.engines.unit_gradients import Beside, Blocks
from suite.machine.buffers import empty


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
class StoredPatches:
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

    `K` comes from the gradients of a few inputs at a time, formed in a tensor that is used again, or from
    the inner products of all positions, whichever has fewer operations.

    Args:
        weight: its name.
        shape: of the weight.
        a: its inputs.
        b: `[samples, parts, groups, outputs, positions]`.
        memory: how many bytes of gradients may be formed at a time.
    """

    weight: str
    shape: tuple[int, ...]
    a: Patches
    b: Tensor
    memory: int

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
    def _numbers(self) -> int:
        """How many numbers may be formed at a time."""
        return self.memory // self.b.itemsize

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
        step = max(1, self._numbers // max(1, 2 * groups * positions * self.units * positions))
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
        fitting = self._numbers // (self.units * groups * outputs * grain) * grain
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

    def reduce(self, rows: CoefficientRows, into: Mapping[str, Tensor]) -> None:
        """`rows @ G`, some inputs at a time."""
        _, _, groups, outputs, _ = self.b.shape
        target = into[self.weight].view(len(rows), groups, outputs, self.a.shape[2])
        for some, formed in self._columns():
            part = rows.tensor @ formed.view(self.units, -1)
            target[..., some] = part.view(len(rows), groups, outputs, -1)

    def beside(self, rows: CoefficientRows, other: Blocks) -> Iterator[Beside]:
        """`Σ_ut c_u b_ut a_utᵀ S` of random columns `S` beside other gradients times `S`."""
        _, parts, groups, outputs, _ = self.b.shape
        inputs = self.a.shape[2]
        if not isinstance(self.a, StoredPatches) or inputs <= RANDOM_COLUMNS or parts * groups > 1:
            yield from formed_beside(self, rows, other)
            return
        columns = random_signs(inputs, self.b)
        a = self.a.tensor[:, 0].mT @ columns
        weighted = self.b[:, 0, 0] * rows.tensor[0, :, None, None]
        ours = torch.tensordot(weighted, a, ([0, 2], [0, 1]))
        yield Beside(self.weight, ours, other[self.weight].view(outputs, inputs) @ columns, whole=False)

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
