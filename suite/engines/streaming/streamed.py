"""The gradients of the units, layer by layer, behind the two verbs `gram` and `reduce`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from suite.algebra.gram import Gram
from suite.algebra.units import Column
from suite.engines.basis import Basis, basis
from suite.engines.chain import Link, chain, multiples
from suite.engines.streaming.following import Followed
from suite.engines.streaming.layer_gradients import CoefficientRows, LayerGradients
from suite.engines.streaming.outer_product import Formed, OuterProduct
from suite.engines.streaming.positions import Positions
from suite.engines.streaming.syrk import mirror
from suite.engines.unit_gradients import Beside, Blocks, as_rows
from suite.machine.buffers import empty
from suite.machine.cuda import sent


class Streamed:
    """Unit gradients that are formed layer by layer, when they are asked for, and let go.

    Args:
        layers: the gradients of each layer.
        shapes: of the parameters, in the order of `model.named_parameters()`.
        units: how many units there are.
        like: a tensor of the dtype and on the device of the gradients.
        last: the gradient of one more unit by parameter, or None.
        memory: how many bytes of formed gradients may stay for the reductions; those of `FORMED_NUMBERS` at
            most.
    """

    def __init__(
        self,
        layers: Iterable[LayerGradients],
        shapes: Mapping[str, torch.Size],
        units: int,
        like: Tensor,
        last: Blocks | None = None,
        memory: int | None = None,
    ) -> None:
        self._layers = list(layers)
        self._shapes = dict(shapes)
        self._units = units
        self._like = like
        self._last = last
        most = FORMED_NUMBERS * like.itemsize
        self._memory = most if memory is None else min(most, memory)
        self._numbers = self._memory // like.itemsize
        self._gram: Gram | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """`(units, params)`."""
        return self._units + (self._last is not None), sum(s.numel() for s in self._shapes.values())

    def gram(self) -> Gram:
        """`[units, units]` in float64: `G Gᵀ`, added up layer by layer."""
        if self._gram is None:
            self._gram = self._added_up()
            self._gram.flags.writeable = False
        return self._gram

    def _added_up(self) -> Gram:
        total = self._like.new_zeros(self._units, self._units)
        for layer in self._kept():
            layer.gram(total)
        mirror(total)
        found = total.cpu().double().numpy()
        if self._last is None:
            return found
        square = sum(float(part.double().square().sum()) for part in self._last.values())
        side = self.project(self._last)
        return np.block([[found, side[:, None]], [side[None, :], np.array([[square]])]])

    def _kept(self) -> Iterator[LayerGradients]:
        """The layers; what all verbs need is formed by the first, while there is memory for it."""
        for index, layer in enumerate(self._layers):
            if isinstance(layer, Positions) and not layer.inner and layer.size <= self._numbers:
                # Its patches and output gradients are let go.
                self._layers[index] = Formed(layer.formed())
                self._numbers -= layer.size
            yield self._layers[index]

    def beside(self, column: Column, other: Blocks) -> Iterator[Beside]:
        """The units' gradients, weighted by `column`, beside others, or random columns of both."""
        rows = CoefficientRows.of(column[None, : self._units], self._like)
        missing = dict(other)
        for layer in self._kept():
            for pair in layer.beside(rows, other):
                missing.pop(pair.name)
                yield pair
        for name, theirs in missing.items():
            yield Beside(name, torch.zeros_like(theirs), theirs)

    def reduce(self, coefficients: ArrayLike) -> Tensor:
        """`[conventions, params]` the reduced gradients `C G` of coefficients `[conventions, units]`.

        Each is written once: what few directions span is put together piece by piece, in the cache.
        """
        given = np.atleast_2d(np.asarray(coefficients, dtype=np.float64))
        found, blocks = self._empty(len(given))
        links, spanned = self._planned(given)
        rows, dense = self._rows(spanned.rows), self._rows(given)
        mix = sent(spanned.weights, self._like)
        followed = Followed.of(links, dense.tensor)
        for layer in self._layers:
            if isinstance(layer, OuterProduct) and links:
                layer.follow(followed, blocks)
            elif isinstance(layer, OuterProduct):
                layer.combine(rows, mix, blocks)
            elif len(rows) == len(dense):
                layer.reduce(dense, blocks)
            else:
                parts = {n: empty(self._like, len(rows), *blocks[n].shape[1:]) for n in layer.names}
                layer.reduce(rows, parts)
                for name, part in parts.items():
                    torch.mm(mix, as_rows(part), out=as_rows(blocks[name]))
        self._add_last(given, blocks)
        return found

    def _planned(self, given: NDArray[np.float64]) -> tuple[list[Link], Basis]:
        """How reductions follow from each other, and the rows of which all are combinations.

        Many conventions of few directions are no links, but combinations of all of these.
        """
        if len(given) > FOLLOWED:
            spanned = self._basis(given)
            if len(spanned.rows) < len(given) // 2:
                return [], spanned
        links = chain(given[:, : self._units])
        own, mix = multiples(links)
        return links, Basis(given[own], mix)

    def directions(self, coefficients: ArrayLike) -> tuple[Tensor, Tensor]:
        """`[conventions, rank]` and `[rank, params]`, whose product the reduced gradients are.

        A hundred conventions take no more memory than the few directions that they span.
        """
        spanned = self._basis(coefficients)
        found, blocks = self._empty(len(spanned.rows))
        rows = self._rows(spanned.rows)
        for layer in self._layers:
            layer.reduce(rows, blocks)
        self._add_last(spanned.rows, blocks)
        return sent(spanned.weights, self._like), found

    def _basis(self, coefficients: ArrayLike) -> Basis:
        formed = sum(
            layer.b.numel() * layer.a.shape[1] for layer in self._layers if isinstance(layer, OuterProduct)
        )
        return basis(coefficients, turned=formed > WORTH)

    def _rows(self, values: NDArray[np.float64]) -> CoefficientRows:
        return CoefficientRows.of(values[:, : self._units], self._like)

    def _empty(self, count: int) -> tuple[Tensor, dict[str, Tensor]]:
        """`[count, params]` to be written, and its parts by parameter; zeros where no layer writes."""
        found = empty(self._like, count, self.shape[1])
        written = {name for layer in self._layers for name in layer.names}
        blocks: dict[str, Tensor] = {}
        start = 0
        for name, shape in self._shapes.items():
            stop = start + shape.numel()
            blocks[name] = found[:, start:stop].view(count, *shape)
            if name not in written:
                blocks[name].zero_()
            start = stop
        return found, blocks

    def _add_last(self, values: NDArray[np.float64], blocks: Mapping[str, Tensor]) -> None:
        if self._last is None:
            return
        last = sent(values[:, -1].copy(), self._like)
        for name, part in self._last.items():
            blocks[name] += last.view(-1, *([1] * part.ndim)) * part

    @property
    def blocks(self) -> Blocks:
        """By parameter name, `[units, *parameter.shape]`: all gradients, formed."""
        formed: dict[str, Tensor] = {}
        for layer in self._layers:
            formed |= layer.formed()
        return {name: self._complete(name, formed.get(name), shape) for name, shape in self._shapes.items()}

    def _complete(self, name: str, block: Tensor | None, shape: Sequence[int]) -> Tensor:
        if block is None:
            block = self._like.new_zeros(self._units, *shape)
        return block if self._last is None else torch.cat([block, self._last[name].unsqueeze(0)])

    def project(self, vector: Blocks) -> Gram:
        """`[units]` the inner products `G v` with one more gradient, given by parameter."""
        total = self._like.new_zeros(self._units)
        for layer in self._layers:
            total += layer.project(vector)
        return total.cpu().double().numpy()

    def append(self, unit: Blocks) -> Streamed:
        """The same with one more unit, its gradient given by parameter."""
        return Streamed(self._layers, self._shapes, self._units, self._like, unit, self._memory)


FORMED_NUMBERS = 1 << 26
"""How many numbers of formed gradients stay for the reductions, at most."""

WORTH = 1 << 27
"""From so many units × parameters on, reductions over fewer units save more than finding them costs."""
FOLLOWED = 16
"""Of more conventions it is seen first whether few directions span them."""
