"""Unit gradients of embeddings: each position adds to one row of the table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from suite.engines.streaming.layer_gradients import CoefficientRows, formed_beside
from suite.engines.streaming.syrk import add_square
from suite.engines.unit_gradients import Beside, Blocks


@dataclass(frozen=True)
class EmbeddingRows:
    """A table of which each position reads one row: `G_u[v] = Σ_t [token_ut = v] b_ut`.

    Args:
        weight: its name.
        tokens: `[samples, positions]` the rows that are read; −1 where nothing is learnt from it.
        b: `[samples, parts, positions, width]`.
        height: of the table.
        memory: how many bytes of gradients may be formed at a time.
    """

    weight: str
    tokens: Tensor
    b: Tensor
    height: int
    memory: int

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameter."""
        return (self.weight,)

    @cached_property
    def _read(self) -> tuple[Tensor, Tensor, int]:
        """The rows that are read, `[samples, positions]` which of them a position reads, how many are −1."""
        rows, index = self.tokens.unique(return_inverse=True)
        return rows, index, int(len(rows) > 0 and bool(rows[0] < 0))

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
        rows, index, unlearnt = self._read
        units, width = self.b.shape[0] * self.b.shape[1], self.b.shape[3]
        column = units * len(rows) * self.b.itemsize
        step = max(1, min(width, self.memory // max(1, column)))
        for start in range(0, width, step):
            formed = self._form(index, len(rows), slice(start, start + step))
            add_square(total, formed[:, unlearnt:].flatten(1))

    def reduce(self, rows: CoefficientRows, into: Mapping[str, Tensor]) -> None:
        """`Σ_ut c_u b_ut`, added to the row that position `t` reads; formed first where that is less work."""
        samples, parts, positions, width = self.b.shape
        read = len(self._read[0])
        if read <= len(rows) * positions and samples * parts * read * width <= self.memory // self.b.itemsize:
            self._reduce_formed(rows, into[self.weight])
            return
        learnt = (self.tokens >= 0)[:, None].expand(samples, parts, positions).reshape(-1)
        tokens = self.tokens[:, None].expand(samples, parts, positions).reshape(-1)[learnt]
        b = self.b.flatten(0, 1)
        for row, target in zip(rows.tensor, into[self.weight], strict=True):
            weighted = (b * row[:, None, None]).reshape(-1, width)[learnt]
            target.zero_().index_add_(0, tokens, weighted)

    def _reduce_formed(self, rows: CoefficientRows, into: Tensor) -> None:
        """Write `rows @ G` of the rows that are read, and zero elsewhere."""
        read, index, unlearnt = self._read
        formed = self._form(index, len(read), slice(None))
        reduced = (rows.tensor @ formed.flatten(1)).view(len(rows), len(read), -1)
        into.zero_()
        into[:, read[unlearnt:]] = reduced[:, unlearnt:]

    def beside(self, rows: CoefficientRows, other: Blocks) -> Iterator[Beside]:
        """`rows @ G` of one row beside other gradients."""
        return formed_beside(self, rows, other)

    def project(self, vector: Blocks) -> Tensor:
        """`Σ_t b_ut · v[token_ut]`."""
        read = vector[self.weight][self.tokens.clamp(min=0)] * (self.tokens >= 0)[..., None]
        return (self.b * read[:, None]).sum((2, 3)).flatten()

    def formed(self) -> Blocks:
        """The whole table for each unit."""
        rows, index, unlearnt = self._read
        rows, formed = rows[unlearnt:], self._form(index, len(rows), slice(None))[:, unlearnt:]
        table = formed.new_zeros(len(formed), self.height, formed.shape[2])
        table[:, rows] = formed
        return {self.weight: table}
