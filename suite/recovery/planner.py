"""Which parameters the weights of units are solved on, and their proof on all parameters.

For tokens, pixels or nodes: linear maps whose rows belong to one unit each, behind the last layer that mixes
them; those that cost least come first, more where these leave the weights ill-conditioned. For samples: the
same, or else the smallest parameters, whose gradients are formed. The batch is taken in pieces whose graph is
no larger than the model's gradient. Where no choice tells the weights, or where they are not proven, all
gradients are computed instead, by whoever asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from suite.machine.stages import begins
from suite.recovery.attempt import Attempt, Unfit, penalty
from suite.recovery.captured_rows import cheap_ones, choices_of, first_rows, formed_rows, rows_of_the_rest
from suite.recovery.on_few import WELL_CONDITIONED, Proven, Solved, solved
from suite.recovery.owned_rows import Codes
from suite.recovery.random_directions import directions_of
from suite.recovery.step import GradientByName
from suite.recovery.weighted_pass import Remainder


class HeardElsewhere(Exception):  # noqa: N818  it is an answer
    """Units that the chosen parameters do not hear are heard by others."""


def proven(attempt: Attempt, *, formable: bool = True) -> Proven | None:
    """The weights, solved for on few parameters and proven on all; None where that cannot be had.

    Args:
        attempt: the step's gradient and the losses.
        formable: whether the gradients of all units can be formed instead. If not, random directions are
            tried last.
    """
    size = sum(part.numel() for part in attempt.gradient.values())
    if not attempt.solvable or size <= attempt.units:
        return None
    last = penalty(attempt)
    for source in (_candidates,) if formable else (_candidates, _on_directions):
        try:
            for found, graph in source(attempt, last):
                with suppress(HeardElsewhere):
                    shown = proof(attempt, found, graph)
                    if shown is not None or formable or not found.formed:
                        return shown
        except Unfit:
            continue
    return None


def _candidates(attempt: Attempt, last: GradientByName | None) -> Iterator[tuple[Solved, Tensor | None]]:
    """Weights to be proven, and the graph of the losses where they are in one piece.

    The next ones are asked for where these leave out units that are heard by other parameters.
    """
    pieces = attempt.pieces
    whole = len(pieces) == 1
    best: Solved | None = None
    for looked_at in (cheap_ones, list):
        rows, graph = first_rows(attempt, pieces[0], looked_at)
        kept = graph if whole else None
        del graph
        for choice in choices_of(rows, attempt.units):
            parts = choice if whole else rows_of_the_rest(attempt, choice, pieces[1:])
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


def _on_directions(attempt: Attempt, last: GradientByName | None) -> Iterator[tuple[Solved, None]]:
    """Weights on random directions of all parameters."""
    rows, side, penalised = directions_of(attempt, last)
    found = solved([rows], attempt.units, side, penalised, attempt.most_condition)
    if found is not None:
        yield found, None


def _on_small_parameters(attempt: Attempt, last: GradientByName | None) -> Iterator[Solved]:
    """The weights of samples on the smallest parameters, as many as the condition asks for."""
    for part in formed_rows(attempt, attempt.units):
        found = solved([part], attempt.units, attempt.gradient, last, attempt.most_condition)
        if found is not None:
            yield found


def proof(attempt: Attempt, found: Solved, graph: Tensor | None) -> Proven | None:
    """The weights, if the losses so weighted have the step's gradient on all parameters."""
    column = found.column
    quiet = found.quiet
    left = Remainder(attempt.gradient, attempt.given.model)
    begins("the proof on all parameters: one weighted backward pass")
    pieces = attempt.pieces
    for piece in pieces:
        entries = attempt.read(piece) if graph is None else graph
        some = attempt.units_of(piece)
        if bool(quiet[some].any()) and not _silent(entries, quiet[some]):
            raise HeardElsewhere
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
