"""Unit gradients within a bound on memory: of some parameters, and of some samples, at a time.

An engine is run several times, with all parameters frozen but a group, and the Gram matrices of the
groups are added up: each gradient is still computed once. Only where one parameter's gradients of all
samples do not fit, or the pass itself does not, are the samples taken in chunks, every two of which
must be together once. A reduced gradient takes one pass for each group and chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from suite.algebra.gram import Gram
from suite.algebra.units import Column
from suite.engines.basis import basis
from suite.engines.sharing import only
from suite.engines.unit_gradients import CONVERTED, Beside, Blocks, UnitGradients, products, reduced_beside
from suite.errors import CaseError
from suite.loops import batch as batches
from suite.loops.batch import Batch
from suite.loops.loop import Losses
from suite.machine.cuda import devices_of, sent
from suite.machine.memory import format_bytes

if TYPE_CHECKING:
    from suite.engines.engine import Engine

Span = tuple[int, int]


@dataclass(frozen=True)
class ParameterGroup:
    """The parameters that are differentiated by in one pass, and what such a pass takes.

    Args:
        names: of the parameters.
        gradient: bytes of one gradient of these.
        pair: bytes of a pass over two samples.
        each: bytes that one more sample adds.
    """

    names: frozenset[str]
    gradient: int
    pair: int
    each: int

    def fits(self, memory: int) -> int:
        """How many samples a pass within `memory` bytes may have; 0 where none does."""
        return 0 if self.pair > memory else 2 + (memory - self.pair) // max(1, self.each)


@dataclass(frozen=True)
class Job:
    """Whose gradients are computed, by which engine, in how much memory.

    Args:
        engine: that runs each pass.
        model: a copy that nobody changes.
        batch: of samples along the first axis.
        losses: the unreduced losses.
        samples: how many there are.
        parts: how many units a sample has.
        groups: the parameters that the losses depend on.
        memory: bytes, for everything.
    """

    engine: Engine
    model: nn.Module
    batch: Batch
    losses: Losses
    samples: int
    parts: int
    groups: Sequence[ParameterGroup]
    memory: int

    @property
    def pass_memory(self) -> int:
        """How many bytes a pass may take, beside the Gram matrix and the model's copy."""
        gradient = sum(group.gradient for group in self.groups)
        return self.memory - gram_bytes(self.samples * self.parts) - gradient

    def run(self, group: ParameterGroup, *spans: Span) -> UnitGradients:
        """One pass over the samples of these spans."""
        model = only(self.model, group.names)
        rows = torch.cat([torch.arange(*span, device="cpu") for span in spans])
        whole = len(rows) == self.samples
        batch = self.batch if whole else batches.select(self.batch, rows)
        with torch.random.fork_rng(devices=devices_of(model)), torch.enable_grad():
            found = self.engine.compute(model, batch, self.losses, self.pass_memory)
        if found.shape[0] != len(rows) * self.parts:
            raise CaseError(
                f"{len(rows)} samples gave {found.shape[0]} units where each has {self.parts}: "
                "such losses cannot be taken in chunks"
            )
        return found

    def units(self, span: Span) -> slice:
        """The units of the samples of a span."""
        return slice(span[0] * self.parts, span[1] * self.parts)


class Chunked:
    """Unit gradients that are computed anew, in pieces, each time that they are asked for.

    Args:
        job: whose gradients, and how.
        last: the gradient of one more unit by parameter, or None.
        gram: of the other units, where it is known.
    """

    def __init__(self, job: Job, last: Blocks | None = None, gram: Gram | None = None) -> None:
        self._job = job
        self._last = last
        self._gram = gram
        self._bordered: Gram | None = None
        trained = {name: p for name, p in job.model.named_parameters() if p.requires_grad}
        self._like = next(iter(trained.values()))
        self._places: dict[str, slice] = {}
        start = 0
        for name, parameter in trained.items():
            self._places[name] = slice(start, start + parameter.numel())
            start += parameter.numel()
        self._shapes = {name: p.shape for name, p in trained.items()}

    @property
    def shape(self) -> tuple[int, int]:
        """`(units, params)`."""
        units = self._job.samples * self._job.parts
        return units + (self._last is not None), list(self._places.values())[-1].stop

    @property
    def chunks(self) -> int:
        """In how many pieces the gradients are computed, each of some parameters and some samples."""
        job = self._job
        whole = (group.fits(job.pass_memory) >= job.samples for group in job.groups)
        passed = (min(job.samples, *_hold(job, group)) for group in job.groups)
        return sum(1 if w else -(-job.samples // p) for w, p in zip(whole, passed, strict=True))

    def gram(self) -> Gram:
        """`[units, units]` in float64: `G Gᵀ`, added up over parameters, chunk by chunk."""
        job = self._job
        if self._gram is None:
            total: Gram = np.zeros((job.samples * job.parts,) * 2)
            for group in job.groups:
                if group.fits(job.pass_memory) >= job.samples:
                    total += job.run(group, (0, job.samples)).gram()
                elif job.engine.materialises:
                    _held_against_the_rest(job, group, total)
                else:
                    _in_pairs(job, group, total)
            self._gram = total
        if self._last is None:
            return self._gram
        if self._bordered is None:
            side = self.project(self._last)[:-1, None]
            square = sum(float(part.double().square().sum()) for part in self._last.values())
            self._bordered = np.block([[self._gram, side], [side.T, np.array([[square]])]])
        return self._bordered

    def project(self, vector: Blocks) -> Gram:
        """`[units]` the inner products `G v` with one more gradient, given by parameter."""
        job = self._job
        total = np.zeros(self.shape[0])
        for group in job.groups:
            for span in _spans(0, job.samples, group.fits(job.pass_memory)):
                total[job.units(span)] += job.run(group, span).project(
                    {name: part for name, part in vector.items() if name in group.names}
                )
        if self._last is not None:
            total[-1] = sum(
                float((part.double() * vector[k].double()).sum()) for k, part in self._last.items()
            )
        return total

    def reduce(self, coefficients: ArrayLike) -> Tensor:
        """`[conventions, params]` the reduced gradients `C G` of coefficients `[conventions, units]`."""
        rows = np.atleast_2d(np.asarray(coefficients, dtype=np.float64))
        job, found = self._job, self._like.detach().new_zeros(len(rows), self.shape[1])
        # A row at a time where the gradients are at hand; else each row would cost as much as all.
        step = 1 if job.engine.materialises else len(rows)
        memory = job.pass_memory - reduction_bytes(job.engine, job.groups, len(rows))
        for group in job.groups:
            fitting = group.fits(memory)
            if not fitting:
                raise CaseError(
                    f"{len(rows)} reduced gradients and a pass over two samples take more than the "
                    f"{format_bytes(job.memory)} that are allowed: allow more, or reduce fewer at a time"
                )
            names = [name for name in self._places if name in group.names]
            sizes = [self._shapes[name].numel() for name in names]
            for span in _spans(0, job.samples, fitting):
                piece = job.run(group, span)
                for begin in range(0, len(rows), step):
                    some = slice(begin, begin + step)
                    parts = piece.reduce(rows[some, job.units(span)]).split(sizes, dim=1)
                    for name, part in zip(names, parts, strict=True):
                        found[some, self._places[name]] += part.to(found.device)
                del piece, parts  # before the next is computed
        if self._last is not None:
            weights = sent(rows[:, -1:], found)
            for name, part in self._last.items():
                found[:, self._places[name]] += weights * part.flatten().to(found.device)
        return found

    def directions(self, coefficients: ArrayLike) -> tuple[Tensor, Tensor]:
        """`[conventions, rank]` and `[rank, params]`, whose product the reduced gradients are."""
        spanned = basis(coefficients)
        return sent(spanned.weights, self._like), self.reduce(spanned.rows)

    def beside(self, column: Column, other: Blocks) -> Iterator[Beside]:
        """The units' gradients, weighted by `column`, beside others."""
        return reduced_beside(self, column, other)

    def append(self, unit: Blocks) -> Chunked:
        """The same with one more unit, its gradient given by parameter."""
        return Chunked(self._job, unit, self._gram)

    @property
    def blocks(self) -> Blocks:
        """By parameter name, `[units, *parameter.shape]`: all gradients, formed, where they fit.

        Raises:
            CaseError: They do not.
        """
        job = self._job
        needed = self.shape[0] * self.shape[1] * self._like.itemsize
        if needed + max(group.pair for group in job.groups) > job.pass_memory:
            raise CaseError(
                f"all gradients together take {format_bytes(needed)}, "
                f"where {format_bytes(job.memory)} are allowed: allow more, "
                "or ask for the Gram matrix and reduced gradients, which take less"
            )
        like = self._like.detach()
        found = {name: like.new_zeros(self.shape[0], *shape) for name, shape in self._shapes.items()}
        for group in job.groups:
            for span in _spans(0, job.samples, group.fits(job.pass_memory - needed)):
                for name, block in job.run(group, span).blocks.items():
                    found[name][job.units(span)] = block
                del block
        for name, part in (self._last or {}).items():
            found[name][-1] = part
        return found


def gram_bytes(units: int) -> int:
    """What the Gram matrix takes while it grows: itself, what is added to it, and what that is made of."""
    return 32 * units**2 + 16 * CONVERTED


def reduction_bytes(engine: Engine, groups: Sequence[ParameterGroup], rows: int) -> int:
    """What so many reduced gradients take while they grow: themselves, and what is added and its parts."""
    step = 1 if engine.materialises else rows
    return sum(rows * g.gradient for g in groups) + 2 * step * max(g.gradient for g in groups)


def _spans(start: int, stop: int, step: int) -> list[Span]:
    return [(begin, min(begin + step, stop)) for begin in range(start, stop, max(1, step))]


def _hold(job: Job, group: ParameterGroup) -> Span:
    """How many samples' gradients to hold, and how many to compute at a time beside them."""
    if not job.engine.materialises:
        half = max(1, group.fits(job.pass_memory) // 2)
        return half, half
    step = max(1, group.fits(job.pass_memory // 3))
    takes = group.pair + (step - 2) * group.each
    return max(1, (job.pass_memory - takes) // (job.parts * group.gradient)), step


def _held_against_the_rest(job: Job, group: ParameterGroup, total: Gram) -> None:
    """Add the Gram matrix of a group, some samples' gradients being held while the rest pass by."""
    hold, step = _hold(job, group)
    for first, stop in _spans(0, job.samples, hold):
        rows = job.units((first, stop))
        kept: dict[str, Tensor] = {}
        for begin, end in _spans(first, stop, step):
            piece = job.run(group, (begin, end)).blocks
            for name, block in piece.items():
                if name not in kept:
                    kept[name] = block.new_empty((stop - first) * job.parts, *block.shape[1:])
                kept[name][(begin - first) * job.parts : (end - first) * job.parts] = block
            del piece, block
        total[rows, rows] += products(kept, kept)
        for span in _spans(stop, job.samples, step):
            found = products(kept, job.run(group, span).blocks)
            total[rows, job.units(span)] += found
            total[job.units(span), rows] += found.T


def _in_pairs(job: Job, group: ParameterGroup, total: Gram) -> None:
    """Add the Gram matrix of a group from those of every two chunks of samples together."""
    spans = _spans(0, job.samples, _hold(job, group)[0])
    for i, first in enumerate(spans):
        for second in spans[i + 1 :]:
            found = job.run(group, first, second).gram()
            size = (first[1] - first[0]) * job.parts
            a, b = job.units(first), job.units(second)
            total[a, b] += found[:size, size:]
            total[b, a] += found[size:, :size]
            if second is spans[i + 1]:
                total[a, a] += found[:size, :size]
            if i == len(spans) - 2:  # the last of all comes with the one before it alone
                total[b, b] += found[size:, size:]
