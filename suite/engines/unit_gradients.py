"""What every engine hands over: the gradients of the units, behind two verbs, `gram` and `reduce`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from suite.algebra.gram import Gram
from suite.algebra.units import Column
from suite.engines.basis import basis
from suite.machine.buffers import empty
from suite.machine.cuda import sent

Blocks = Mapping[str, Tensor]
"""By parameter name, what belongs to the parameter: `[…, *parameter.shape]`."""


class Beside(NamedTuple):
    """A parameter's gradient from an engine, and from somewhere else.

    Args:
        name: of the parameter.
        ours: the engine's, or its product with random columns.
        theirs: the other's, or its product with the same columns.
        whole: whether these are the gradients themselves.
    """

    name: str
    ours: Tensor
    theirs: Tensor
    whole: bool = True


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

    def project(self, vector: Blocks) -> NDArray[np.float64]:
        """`[units]` the inner products of the units' gradients with one more, given by parameter."""

    def beside(self, column: Column, other: Blocks) -> Iterator[Beside]:
        """The units' gradients, weighted by `column`, beside others: by parameter, in any order."""

    def append(self, unit: Blocks) -> UnitGradients:
        """The same with one more unit, its gradient given by parameter."""

    @property
    def blocks(self) -> Blocks:
        """By parameter name, `[units, *parameter.shape]`: all gradients, formed."""


@dataclass(frozen=True)
class Materialised:
    """Unit gradients held in memory, one block a parameter.

    Args:
        blocks: by parameter name, `[units, *parameter.shape]`.
    """

    blocks: Blocks

    @property
    def shape(self) -> tuple[int, int]:
        """`(units, params)`."""
        blocks = list(self.blocks.values())
        return blocks[0].shape[0], sum(block[0].numel() for block in blocks)

    def gram(self) -> Gram:
        """`[units, units]` in float64: `G Gᵀ`, added up parameter by parameter."""
        return products(self.blocks, self.blocks)

    def reduce(self, coefficients: ArrayLike) -> Tensor:
        """`[conventions, params]` the reduced gradients `C G` of coefficients `[conventions, units]`."""
        first = next(iter(self.blocks.values()))
        weights = sent(np.atleast_2d(np.asarray(coefficients, dtype=np.float64)), first)
        found, start = empty(first, len(weights), self.shape[1]), 0
        for block in self.blocks.values():
            stop = start + block[0].numel()
            found[:, start:stop] = weights.to(block.device) @ as_rows(block)
            start = stop
        return found

    def directions(self, coefficients: ArrayLike) -> tuple[Tensor, Tensor]:
        """`[conventions, rank]` and `[rank, params]`, whose product the reduced gradients are."""
        spanned = basis(coefficients)
        found = self.reduce(spanned.rows)
        return sent(spanned.weights, found), found

    def project(self, vector: Blocks) -> NDArray[np.float64]:
        """`[units]` the inner products `G v` with one more gradient."""
        return products(self.blocks, {name: part.unsqueeze(0) for name, part in vector.items()})[:, 0]

    def beside(self, column: Column, other: Blocks) -> Iterator[Beside]:
        """The units' gradients, weighted by `column`, beside others."""
        return reduced_beside(self, column, other)

    def append(self, unit: Blocks) -> Materialised:
        """The same with one more unit, its gradient given by parameter."""
        return Materialised({
            name: torch.cat([block, unit[name].unsqueeze(0)]) for name, block in self.blocks.items()
        })  # fmt: skip


def as_rows(block: Tensor) -> Tensor:
    """`[units, numbers]` of `[units, *parameter.shape]`; a parameter may well have no axes."""
    return block.unsqueeze(1).flatten(1)


def reduced_beside(gradients: UnitGradients, column: Column, other: Blocks) -> Iterator[Beside]:
    """The units' gradients, weighted by `column`, beside others; all are formed."""
    row = gradients.reduce(column[None])[0]
    for (name, theirs), ours in zip(
        other.items(), row.split([part.numel() for part in other.values()]), strict=True
    ):
        yield Beside(name, ours, theirs.flatten().to(ours.device))


CONVERTED = 1 << 17
"""How many numbers are made float64 at a time, where they are not."""


def products(rows: Blocks, others: Blocks) -> Gram:
    """`[rows, others]` in float64: the inner products of gradients, added up parameter by parameter.

    Args:
        rows: by parameter name, `[rows, *parameter.shape]`.
        others: `[others, *parameter.shape]` of the same parameters at least.
    """
    first = next(iter(rows.values()))
    if first.device.type == "cuda":  # uncovered: needs a CUDA device
        return _products_on_device(rows, others)
    total: Gram = np.zeros((len(first), len(next(iter(others.values())))))
    for name, block in rows.items():
        a, b = as_rows(block), as_rows(others[name])
        step = a.shape[1] if a.dtype == torch.float64 else max(1, CONVERTED // max(1, len(a) + len(b)))
        for start in range(0, a.shape[1], max(1, step)):
            some = _double(a[:, start : start + step])
            against = some if others is rows else _double(b[:, start : start + step])
            total += (some @ against.T).cpu().numpy()
    return total


CONVERTED_ON_DEVICE = 1 << 21
"""The same on a device, which larger pieces keep busy."""


def _products_on_device(rows: Blocks, others: Blocks) -> Gram:  # uncovered: needs a CUDA device
    """The same, added up where the gradients are and fetched once from each device."""
    shape = tuple(len(next(iter(blocks.values()))) for blocks in (rows, others))
    totals: dict[torch.device, Tensor] = {}
    for name, block in rows.items():
        a, b = block.flatten(1), others[name].flatten(1)
        step = a.shape[1] if a.dtype == torch.float64 else CONVERTED_ON_DEVICE // max(1, len(a) + len(b))
        for start in range(0, a.shape[1], max(1, step)):
            some = a[:, start : start + step].double()
            against = some if others is rows else b[:, start : start + step].double()
            if some.device not in totals:
                totals[some.device] = some.new_zeros(shape)
            totals[some.device].addmm_(some, against.T)
    fetched: list[Gram] = [total.cpu().numpy() for total in totals.values()]
    return sum(fetched[1:], fetched[0])


def _double(part: Tensor) -> Tensor:
    """In float64; a device that has none (mps) hands its numbers to the processor."""
    return part.cpu().double() if part.device.type == "mps" else part.double()
