"""The units' gradients by a few parameters, as a forward pass of the batch gives them, and which to take.

For tokens, pixels or nodes: linear maps whose rows belong to one unit each, behind the last layer that mixes
them. For samples: the same, or else the smallest parameters, whose gradients are formed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from suite.engines.engine import Refused, engines
from suite.engines.streaming.capture import ForwardCall, captured
from suite.loops.autograd import parameter_reads
from suite.recovery.attempt import Attempt, Unfit, differentiated_by
from suite.recovery.formed_rows import FormedRows
from suite.recovery.owned_rows import Codes, joined, may_be_linear, owned
from suite.recovery.unit_rows import UnitRows

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


def cheap_ones(calls: Sequence[ForwardCall]) -> list[ForwardCall]:
    """Of the last calls, those that cost little to solve on."""
    last = calls[-LAST_CALLS:]
    costs = [math.prod(call.shape[:-1]) ** 2 * (call.shape[-1] + call.input.shape[-1]) for call in last]
    most = max(CHEAP, DEAR * min(costs, default=0))
    return [call for call, cost in zip(last, costs, strict=True) if cost <= most]


def first_rows(
    attempt: Attempt, piece: slice, looked_at: Callable[[Sequence[ForwardCall]], list[ForwardCall]]
) -> tuple[list[UnitRows], Tensor]:
    """The maps whose rows belong to one unit each, in the first piece of the batch, and its losses."""
    modules = [module for module in attempt.given.model.modules() if may_be_linear(module)]
    with captured(modules) as calls:
        entries = attempt.read(piece)
    return _owned(attempt, entries, looked_at(calls)), entries


def rows_of_the_rest(attempt: Attempt, first: Sequence[UnitRows], pieces: Sequence[slice]) -> list[UnitRows]:
    """The rows of all pieces, those of the first one being there.

    All other parameters are frozen, so that no graph leads to the layers before these. Where the rows of the
    first piece are its units in turn, so are those of the others, as the proof will show.
    """
    found = {part.weight: [part] for part in first}
    in_turn = all(part.in_turn for part in first)
    with differentiated_by(attempt, [name for part in first for name in part.names]):
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


def choices_of(rows: Sequence[UnitRows], units: int) -> list[list[UnitRows]]:
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


def formed_rows(attempt: Attempt, wanted: int) -> Iterator[FormedRows]:
    """The gradients of samples by the smallest parameters, by more of them each time.

    Args:
        attempt: whose units are samples.
        wanted: how many weights are to be solved for.

    Raises:
        Unfit: The engine cannot do it.
    """
    ranked = sorted(attempt.trained, key=lambda name: attempt.trained[name].numel())
    sizes = np.cumsum([attempt.trained[name].numel() for name in ranked])
    affordable = int(np.searchsorted(sizes * attempt.units, MOST_FORMED, side="right"))
    shares = (int(np.searchsorted(sizes, share * wanted)) + 1 for share in SHARES)
    for count in dict.fromkeys(min(count, affordable) for count in shares):
        if count:
            yield _formed(attempt, ranked[:count])


def _formed(attempt: Attempt, names: Sequence[str]) -> FormedRows:
    """The gradients of samples by these parameters.

    Raises:
        Unfit: The engine cannot do it.
    """
    with differentiated_by(attempt, names):
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
