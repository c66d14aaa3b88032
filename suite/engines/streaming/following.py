"""Reduced gradients of outer products that follow from each other, written once and piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from suite.engines.chain import Link
from suite.machine.cuda import sent

IN_CACHE = 1 << 19
"""How many numbers of a result are written at a time: what is added to them finds them in the cache."""

SHARED = 4
"""Times so many where several threads share them: they wait for each other after every product."""

STACKED = 1 << 17
"""Up to so many numbers of the narrower side, weighted by all rows, one product is faster than one a row."""


def in_cache() -> int:
    """How many numbers are written at a time."""
    return IN_CACHE if torch.get_num_threads() == 1 else SHARED * IN_CACHE


@dataclass(frozen=True)
class Followed:
    """Rows of coefficients that follow from each other, ready for all layers.

    Args:
        links: by row, in an order in which each follows from one before it.
        rows: `[conventions, units]` all coefficients.
        units: those over which links sum that leave some out, one link's after another's.
        coefficients: theirs.
    """

    links: Sequence[Link]
    rows: Tensor
    units: Tensor
    coefficients: Tensor

    @classmethod
    def of(cls, links: Sequence[Link], rows: Tensor) -> Followed:
        """The `links` of `rows`."""
        few = [link for link in links if link.units is not None]
        none = np.empty(0, dtype=np.intp)
        units = np.concatenate([none, *(link.units for link in few if link.units is not None)])
        coefficients = np.concatenate([none, *(link.coefficients for link in few)])
        return cls(links, rows, torch.from_numpy(units).to(rows.device), sent(coefficients, rows))

    def write(self, a: Tensor, b: Tensor, into: Tensor) -> None:
        """Write `Σ_u c_u b_u a_uᵀ` of all rows, some outputs at a time.

        Args:
            a: `[units, inputs]`.
            b: `[units, outputs]`.
            into: `[conventions, outputs, inputs]`.
        """
        outputs, inputs = into.shape[1:]
        if self.rows.numel() * min(outputs, inputs) <= STACKED:
            self._stack(a, b, into)
            return
        terms = self._terms(a, b)
        step = max(1, min(outputs, in_cache() // max(1, inputs)))
        for start in range(0, outputs, step):
            part = into[:, start : start + step]
            for link, (weighted, given) in zip(self.links, terms, strict=True):
                one, some = part[link.row], weighted[start : start + step]
                if link.parent is None:
                    torch.mm(some, given, out=one)
                elif len(given) == 0:
                    torch.mul(part[link.parent], link.factor, out=one)
                else:
                    torch.addmm(part[link.parent], some, given, beta=link.factor, out=one)

    def _terms(self, a: Tensor, b: Tensor) -> list[tuple[Tensor, Tensor]]:
        """By link, `[outputs, some]` and `[some, inputs]`, whose product is the sum over its units."""
        few_a, few_b = a.index_select(0, self.units), b.index_select(0, self.units)
        few_b *= self.coefficients[:, None]
        found, start = [], 0
        for link in self.links:
            if link.units is None:
                found.append(((b * self.rows[link.row, :, None]).T, a))
                continue
            stop = start + len(link.units)
            found.append((few_b[start:stop].T, few_a[start:stop]))
            start = stop
        return found

    def _stack(self, a: Tensor, b: Tensor, into: Tensor) -> None:
        """The same in one product, of the narrower side weighted by every row."""
        count, outputs, inputs = into.shape
        if outputs <= inputs:
            weighted = self.rows[:, None, :] * b.T  # [conventions, outputs, units]
            into.copy_((weighted.flatten(0, 1) @ a).view(count, outputs, inputs))
        else:
            weighted = self.rows.T[:, :, None] * a[:, None, :]  # [units, conventions, inputs]
            into.copy_((b.T @ weighted.flatten(1)).view(outputs, count, inputs).transpose(0, 1))
