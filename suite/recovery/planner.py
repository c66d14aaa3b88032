"""Which parameters the weights of units are solved on, and their proof on all parameters.

For tokens, pixels or nodes: linear maps whose rows belong to one unit each, behind the last layer that mixes
them; those that cost least come first, more where these leave the weights ill-conditioned. For samples: the
same, or else the smallest parameters, whose gradients are formed. The batch is taken in pieces whose graph is
no larger than the model's gradient. Where no choice tells the weights, or where they are not proven, all
gradients are computed instead, by whoever asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from suite.engines.engine import Refused, engines
from suite.engines.streaming.capture import ForwardCall, captured
from suite.loops import batch as batches
from suite.loops.autograd import grad, parameter_reads
from suite.recovery.formed_rows import FormedRows
from suite.recovery.in_float64 import UnitProblem
from suite.recovery.losses import differing
from suite.recovery.on_few import MOST_CONDITION, WELL_CONDITIONED, Proven, Solved, solved
from suite.recovery.owned_rows import Codes, joined, may_be_linear, owned
from suite.recovery.step import GradientByName
from suite.recovery.unit_rows import UnitRows
from suite.recovery.weighted_pass import Remainder

LAST_CALLS = 6
"""How many of the last calls are looked at first for rows that belong to one unit."""

SHARES = (8, 64, 512)
"""How many times as many parameters as units are solved on: at first, and where that is not enough."""

DEAR = 8
"""A layer that costs so many times what the cheapest costs is solved on only where nothing else does."""

CHEAP = 1 << 26
"""Multiplications that are cheap whatever others cost."""

MOST_FORMED = 1 << 24
"""How many numbers of samples' gradients are formed, at most."""

LEAST_PIECE = 1 << 25
"""Bytes that the graph of a piece may always take."""


class Unfit(Exception):  # noqa: N818  it is an answer
    """The weights cannot be had in this way."""


class _HeardElsewhere(Exception):  # noqa: N818  the same
    """Units that the chosen parameters do not hear are heard by others."""


@dataclass(frozen=True, eq=False)
class Attempt:
    """A step's gradient, and the losses that it is to be a weighting of.

    Args:
        given: the losses; the model is nobody else's, though its numbers may be.
        entries: `[samples]` or `[samples, parts]` the losses as numbers.
        saved: how many bytes a forward pass of the whole batch saves for its backward pass.
        gradient: of the step, in the order of the trained parameters.
    """

    given: UnitProblem
    entries: Tensor
    saved: int
    gradient: GradientByName

    @property
    def units(self) -> int:
        """How many there are without the regulariser."""
        return self.entries.numel()

    @property
    def parts(self) -> int:
        """How many units a sample has."""
        return self.units // len(self.entries)

    @cached_property
    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters, by the names that the gradient has."""
        parameters = (p for p in self.given.model.parameters() if p.requires_grad)
        return dict(zip(self.gradient, parameters, strict=True))

    @property
    def most_condition(self) -> float:
        """The largest condition of units' gradients that is of use."""
        return MOST_CONDITION[next(iter(self.gradient.values())).dtype]

    @property
    def pieces(self) -> list[slice]:
        """The samples of each piece."""
        samples = len(self.entries)
        allowed = max(LEAST_PIECE, sum(p.numel() * p.itemsize for p in self.trained.values()))
        size = max(1, min(samples, allowed * samples // max(1, self.saved)))
        return [slice(start, min(start + size, samples)) for start in range(0, samples, size)]

    def read(self, piece: slice) -> Tensor:
        """`[units]` the losses of a piece, with their graph.

        Raises:
            Unfit: They are not those of the whole batch.
        """
        whole = len(self.entries) == piece.stop - piece.start
        batch = (
            self.given.batch
            if whole
            else batches.select(self.given.batch, list(range(piece.start, piece.stop)))
        )
        found = self.given.losses(self.given.model, batch)
        expected = self.entries[piece]
        if found.shape != expected.shape or differing(expected, found.detach()):
            raise Unfit
        return found.flatten()

    def units_of(self, piece: slice) -> slice:
        """The units of its samples."""
        return slice(piece.start * self.parts, piece.stop * self.parts)


def proven(attempt: Attempt) -> Proven | None:
    """The weights, solved for on few parameters and proven on all; None where that cannot be had."""
    dtypes = {part.dtype for part in attempt.gradient.values()}
    places = {part.device for part in attempt.gradient.values()}
    size = sum(part.numel() for part in attempt.gradient.values())
    alike = len(dtypes) == len(places) == 1 and dtypes <= MOST_CONDITION.keys()
    if not alike or any(place.type == "mps" for place in places) or size <= attempt.units:
        return None
    try:
        for found, graph in _candidates(attempt, _penalty(attempt)):
            with suppress(_HeardElsewhere):
                return _proof(attempt, found, graph)
    except Unfit:
        pass
    return None


def _penalty(attempt: Attempt) -> GradientByName | None:
    if attempt.given.regulariser is None:
        return None
    parts = grad(attempt.given.regulariser(attempt.given.model), list(attempt.trained.values()))
    return dict(zip(attempt.gradient, parts, strict=True))


def _candidates(attempt: Attempt, last: GradientByName | None) -> Iterator[tuple[Solved, Tensor | None]]:
    """Weights to be proven, and the graph of the losses where they are in one piece.

    The next ones are asked for where these leave out units that are heard by other parameters.
    """
    pieces = attempt.pieces
    whole = len(pieces) == 1
    best: Solved | None = None
    for looked_at in (_cheap_ones, list):
        rows, graph = _first(attempt, pieces[0], looked_at)
        kept = graph if whole else None
        del graph
        for choice in _choices(rows, attempt.units):
            parts = choice if whole else _of_the_rest(attempt, choice, pieces[1:])
            found = solved(parts, attempt.units, attempt.gradient, last, attempt.most_condition)
            if found is not None and found.equations.condition <= WELL_CONDITIONED:
                yield found, kept
            elif found is not None and (best is None or found.better(best)):
                best = found
        if attempt.parts == 1:
            break
    if best is not None:
        yield best, kept
    kept = None
    if attempt.parts == 1:
        for found in _on_small_parameters(attempt, last):
            yield found, None


def _cheap_ones(calls: Sequence[ForwardCall]) -> list[ForwardCall]:
    """Of the last calls, those that cost little to solve on."""
    last = calls[-LAST_CALLS:]
    costs = [math.prod(call.shape[:-1]) ** 2 * (call.shape[-1] + call.input.shape[-1]) for call in last]
    most = max(CHEAP, DEAR * min(costs, default=0))
    return [call for call, cost in zip(last, costs, strict=True) if cost <= most]


def _first(
    attempt: Attempt, piece: slice, looked_at: Callable[[Sequence[ForwardCall]], list[ForwardCall]]
) -> tuple[list[UnitRows], Tensor]:
    """The maps whose rows belong to one unit each, in the first piece of the batch, and its losses."""
    modules = [module for module in attempt.given.model.modules() if may_be_linear(module)]
    with captured(modules) as calls:
        entries = attempt.read(piece)
    return _owned(attempt, entries, looked_at(calls)), entries


def _of_the_rest(attempt: Attempt, first: Sequence[UnitRows], pieces: Sequence[slice]) -> list[UnitRows]:
    """The rows of all pieces, those of the first one being there.

    All other parameters are frozen, so that no graph leads to the layers before these. Where the rows of the
    first piece are its units in turn, so are those of the others, as the proof will show.
    """
    found = {part.weight: [part] for part in first}
    in_turn = all(part.in_turn for part in first)
    with _only(attempt, [name for part in first for name in part.names]):
        chosen = {id(attempt.trained[name]) for name in found}
        modules = [m for m in attempt.given.model.modules() if may_be_linear(m) and id(m.weight) in chosen]
        for piece in pieces:
            with captured(modules) as calls:
                entries = attempt.read(piece)
            rows = {part.weight: part for part in _owned(attempt, entries, calls, in_turn=in_turn)}
            called = {id(call.module.weight) for call in calls}
            del entries, calls
            for name, parts in found.items():
                if name in rows and rows[name].bias == parts[0].bias:
                    parts.append(rows[name].moved(attempt.units_of(piece).start))
                elif id(attempt.trained[name]) in called:
                    raise Unfit
    return [joined(parts) for parts in found.values()]


def _owned(
    attempt: Attempt, entries: Tensor, calls: Sequence[ForwardCall], *, in_turn: bool = False
) -> list[UnitRows]:
    if not calls:
        return []
    codes = Codes.of(len(entries), entries.device)
    edges = [call.edge for call in calls]
    once = torch.autograd.grad(entries.sum(), edges, retain_graph=True, allow_unused=True)
    coded = None
    if not in_turn:
        loss = (codes.weights.to(entries) * entries).sum()
        coded = torch.autograd.grad(loss, edges, retain_graph=True, allow_unused=True)
    names = {id(p): name for name, p in attempt.trained.items()}
    return owned(calls, once, coded, codes, names, parameter_reads(entries))


def _choices(rows: Sequence[UnitRows], units: int) -> list[list[UnitRows]]:
    """What to solve on: the cheapest that hear all units, then all that are not dear, then all."""
    ranked = sorted(rows, key=lambda part: part.work)
    few: list[UnitRows] = []
    # A unit of many rows has a gradient of many ranks: one layer tells such units well.
    least = 2 if all(len(part.unit) <= units for part in ranked) else 1
    unheard = {unit for part in ranked for unit in part.unit.tolist()}
    for part in ranked:
        own = set(part.unit.tolist())
        if len(few) < least or sum(p.size for p in few) < SHARES[0] * units or own & unheard:
            few.append(part)
            unheard -= own
    cheap = [part for part in ranked if part.work <= max(CHEAP, DEAR * ranked[0].work)]
    return list({len(choice): choice for choice in (few, cheap, ranked) if choice}.values())


@contextmanager
def _only(attempt: Attempt, names: Collection[str]) -> Iterator[None]:
    """Inside, the losses are differentiated by these parameters alone."""
    try:
        for name, parameter in attempt.trained.items():
            parameter.requires_grad_(name in names)
        yield
    finally:
        for parameter in attempt.trained.values():
            parameter.requires_grad_(True)  # noqa: FBT003  torch's own


def _on_small_parameters(attempt: Attempt, last: GradientByName | None) -> Iterator[Solved]:
    """The weights of samples on the smallest parameters, as many as the condition asks for."""
    ranked = sorted(attempt.trained, key=lambda name: attempt.trained[name].numel())
    sizes = np.cumsum([attempt.trained[name].numel() for name in ranked])
    affordable = int(np.searchsorted(sizes * attempt.units, MOST_FORMED, side="right"))
    wanted = (int(np.searchsorted(sizes, share * attempt.units)) + 1 for share in SHARES)
    for count in dict.fromkeys(min(count, affordable) for count in wanted):
        if count:
            parts = [_formed(attempt, ranked[:count])]
            found = solved(parts, attempt.units, attempt.gradient, last, attempt.most_condition)
            if found is not None:
                yield found


def _formed(attempt: Attempt, names: Sequence[str]) -> FormedRows:
    """The gradients of samples by these parameters.

    Raises:
        Unfit: The engine cannot do it.
    """
    with _only(attempt, names):
        try:
            found = engines["streaming"].compute(
                attempt.given.model, attempt.given.batch, attempt.given.losses
            )
        except Refused as reason:
            raise Unfit from reason
        if found.shape[0] != attempt.units:
            raise Unfit
        own = (name for name, p in attempt.trained.items() if p.requires_grad)
        return FormedRows(dict(zip(own, found.blocks.values(), strict=True)))


def _proof(attempt: Attempt, found: Solved, graph: Tensor | None) -> Proven | None:
    """The weights, if the losses so weighted have the step's gradient on all parameters."""
    column = found.column
    quiet = ~found.heard
    left = Remainder(attempt.gradient, attempt.given.model)
    pieces = attempt.pieces
    for piece in pieces:
        entries = attempt.read(piece) if graph is None else graph
        some = attempt.units_of(piece)
        if bool(quiet[some].any()) and not _silent(entries, quiet[some]):
            raise _HeardElsewhere
        left.subtract((column[some].to(entries) * entries).sum())
        del entries
    if attempt.given.regulariser is not None:
        left.subtract(float(found.weights[-1]) * attempt.given.regulariser(attempt.given.model))
    return found.proven(attempt.gradient, left.norm, attempt.entries)


def _silent(entries: Tensor, quiet: Tensor) -> bool:
    """Whether these units have no gradient by any parameter.

    All gradients pass through the first node of the graph that has several before it; where nothing
    arrives there, nothing arrives anywhere.
    """
    weights = torch.where(quiet, Codes.of(len(entries), entries.device).weights, 0.0).to(entries)
    edges = [_narrowest(get_gradient_edge(entries))]
    loss = (weights * entries).sum()
    (arriving,) = torch.autograd.grad(loss, edges, retain_graph=True, allow_unused=True)
    return arriving is None or not bool(arriving.any())


def _narrowest(edge: GradientEdge) -> GradientEdge:
    """Where all that reaches any parameter has passed, as far from the losses as that goes."""
    while True:
        following = [GradientEdge(n, place) for n, place in edge.node.next_functions if n is not None]
        if len(following) != 1 or not following[0].node.next_functions:
            return edge
        edge = following[0]
