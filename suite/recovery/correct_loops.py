"""What loops in which nothing is wrong leave: every product of levels, clipped once or not at all.

A known mistake is named only where none of these has the weights that were found. The list is wide on
purpose: a sum instead of a mean at any level, term weights, sample weights and clipping go with each other
as people combine them. What it leaves out is a count of everything that is divided by a level once more.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from suite.algebra.gram import Gram, clip_factor
from suite.algebra.units import Column, Index, Units
from suite.recovery.solve import Root

TORCH_ADDS = 1e-6  # to a norm before it divides by it: clip_grad_norm_, Opacus
LEVELS = ("microbatch", "rank")
PROBED_DIRECTIONS = 8  # random directions: what is seen in one of them need not be looked at in all
NamedColumns = Iterator[tuple[str, Column]]
Slack = Callable[[Column], float]


@dataclass(frozen=True, eq=False)
class DividingCount:
    """A denominator: its name, the scope that it counts in, and `[units]` one over it."""

    name: str
    scope: str
    column: Column


def innocent(root: Root, slack: Slack, units: Units) -> str | None:
    """The name of the first composition that has this gradient; None where none has.

    Levels say nothing of the regulariser: whatever its weight is, it accuses nobody.

    Args:
        root: the units' gradients, and the gradient as the last column.
        slack: the norm that rounding may leave of `g − Gᵀc`, for coefficients `c`.
        units: the units table.
    """
    matrix = np.column_stack([root.gradients, root.side])
    aside = root.gradients[:, ~units.data]
    square = float((aside**2).sum())
    if square > 0.0:
        matrix = matrix - aside @ (aside.T @ matrix) / square
    probes = np.random.default_rng(0).normal(size=(PROBED_DIRECTIONS, len(matrix)))
    seen = probes @ matrix / np.linalg.norm(probes, axis=1, keepdims=True)
    for name, column in _all(units, root.gram):
        given = np.append(-units.column(column, 0.0), 1.0)
        allowed = slack(-given[:-1])
        if np.abs(seen @ given).max() <= allowed and np.linalg.norm(matrix @ given) <= allowed:
            return name
    return None


def composition(name: str, units: Units, gram: Gram) -> Column:
    """`[units]` the coefficients of the composition of this name."""
    return dict(_all(units, gram))[name]


def _all(units: Units, gram: Gram) -> NamedColumns:
    """Each product of levels, plain and then clipped, by a name that is the same on every table."""
    plain = {
        " · ".join((weight, count.name, repeat)): a * count.column * b
        for (weight, a), count in itertools.product(_weights(units), _counts(units))
        for repeat, b in _repeats(units, count.scope)
    }
    yield from plain.items()
    yield from _clipped(units, gram, plain)


def _weights(units: Units) -> NamedColumns:
    """What stands before the loss of a unit."""
    ones = np.ones(len(units))
    yield "1", ones
    if units.weight is not None:
        yield "w", units.weight
    if units.term_weight is not None:
        yield "λ", units.term_weight
        if units.weight is not None:
            yield "wλ", units.weight * units.term_weight


def _counts(units: Units) -> Iterator[DividingCount]:
    """What the losses are divided by: nothing, or samples or elements that are counted in one place."""
    inside = list(_per_sample(units))
    yield from (DividingCount(name, "sample", column) for name, column in inside)
    if units.expected_batch_size:
        for name, column in inside:
            yield DividingCount(f"{name}/L", "batch", column / units.expected_batch_size)
    for scope, index in _scopes(units):
        for name, values in _countable(units):
            yield DividingCount(f"1/{name} in {scope}", scope, _over(_totals(values, index, units)))
        if scope not in ("sample", "unit"):
            samples = _over(_distinct(index, units.sample, units))
            yield from (
                DividingCount(f"{name}/n in {scope}", scope, column * samples) for name, column in inside
            )


def _per_sample(units: Units) -> NamedColumns:
    """What a sample's losses are divided by before samples are counted."""
    ones = np.ones(len(units))
    yield "1", ones
    yield "1/m_i", _over(units.sample_total())
    yield "1/m_u", _over(units.elements)
    if units.positions is not None:
        yield "1/T_i", _over(_totals(units.positions, units.sample, units))
    if units.max_elements is not None:
        yield "1/Lmax", ones / units.max_elements
    if len(units.parts) > 1:
        yield "1/P", ones / len(units.parts)


def _countable(units: Units) -> NamedColumns:
    """What a denominator can count."""
    yield "elements", units.elements
    if units.positions is not None:
        yield "positions", units.positions
    if units.weight is not None:
        yield "weights", units.weight
        yield "weighted elements", units.weight * units.elements
        yield "elements that weigh", units.elements * (units.weight != 0)


def _scopes(units: Units) -> Iterator[tuple[str, Index]]:
    """Where a denominator counts: the batch, a sample, a micro-batch, a rank, a term, or where they meet."""
    yield "batch", np.zeros(len(units), dtype=np.int64)
    yield "sample", units.sample
    given = {name: getattr(units, name) for name in LEVELS if getattr(units, name) is not None}
    if len(given) == 2:
        given["microbatch, rank"] = _meet(*given.values())
    yield from given.items()
    if len(units.parts) > 1:
        yield "unit", _meet(units.sample, units.part)
        yield "batch, part", units.part
        yield from ((f"{name}, part", _meet(index, units.part)) for name, index in given.items())


def _repeats(units: Units, scope: str) -> NamedColumns:
    """What the levels above a count are divided by: the mean over them, or the sum.

    A count of the whole batch, or of a rank's whole window, has no level above it: to divide it once more
    is what innocent loops do not do.
    """
    ones = np.ones(len(units))
    found: list[list[tuple[str, Column]]] = []
    below = scope in ("sample", "unit")
    if units.microbatch is not None and (below or "microbatch" in scope):
        mine = [("1", ones), ("1/K", ones / units.groups("microbatch")), ("1/W", ones / units.window)]
        if units.rank is not None:
            mine.append(("1/K_r", _over(_distinct(units.rank, units.microbatch, units))))
        found.append([*mine, ("n_k/n", _distinct(units.microbatch, units.sample, units) / units.n)])
    if units.rank is not None and (below or "rank" in scope):
        mine = [("1", ones), ("1/R", ones / units.groups("rank")), ("1/S", ones / units.world_size)]
        found.append([*mine, ("n_r/n", _distinct(units.rank, units.sample, units) / units.n)])
    for chosen in itertools.product(*found):
        columns = [column for _, column in chosen]
        yield " · ".join(name for name, _ in chosen), np.asarray(np.prod([ones, *columns], axis=0))


def _clipped(units: Units, gram: Gram, plain: dict[str, Column]) -> NamedColumns:
    """Each product, its gradient clipped to C; and as PyTorch does it, with 1e-6 added to the norm."""
    if units.max_norm is None:
        return
    columns = np.array(list(plain.values()))
    norms = np.sqrt(np.maximum(((columns @ gram) * columns).sum(1), 0.0))
    for added in (units.added_to_norm, TORCH_ADDS):
        factors = clip_factor(norms, units.max_norm, added)
        for name, column, factor in zip(plain, columns, factors, strict=True):
            yield f"clipped (+{added:g}): {name}", column * factor


def _totals(values: Column, index: Index, units: Units) -> Column:
    """`[units]` the sum of `values` over the units of the same `index`."""
    values = np.where(units.data, values, 0.0)
    keys = np.where(units.data, index, 0)
    return np.asarray(np.bincount(keys, weights=values)[keys])


def _distinct(index: Index, things: Index, units: Units) -> Column:
    """`[units]` how many different `things` there are among the units of the same `index`."""
    pairs = np.unique(np.stack([index, things])[:, units.data], axis=1)
    count = np.bincount(pairs[0], minlength=1).astype(np.float64)
    return np.where(units.data, count[np.where(units.data, index, 0)], 1.0)


def _meet(first: Index, second: Index) -> Index:
    """`[units]` an index of the pairs."""
    return np.unique(np.stack([first, second]), axis=1, return_inverse=True)[1].reshape(-1)


def _over(count: Column) -> Column:
    """One over a count or a sum of weights; 1 where there is nothing to count."""
    return np.asarray(1.0 / np.where(count > 0, count, 1.0))
