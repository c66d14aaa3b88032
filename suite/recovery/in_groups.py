"""The weights of units that are too many to solve for one by one: groups first, a formula within them.

The weights of N units take matrices of N × N numbers and N³ operations. Where these are too many, the units
of a sequence, of a micro-batch on a rank, or of a stretch of the batch get one unknown weight together, and
within a group the weights are in the proportions of a formula, all alike or those of a known convention. Few
unknowns are solved for, on few parameters, and one backward pass of all losses so weighted proves them on
all parameters. A step that is no such formula is not explained in this way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from suite.algebra.units import Column, Index, Units
from suite.loops.norms import norm_of_all
from suite.recovery.attempt import Attempt, Unfit, penalty
from suite.recovery.captured_rows import cheap_ones, choices_of, first_rows, formed_rows, rows_of_the_rest
from suite.recovery.identify import applying
from suite.recovery.on_few import Proven, RootOfFew, Rows, Solved, solved
from suite.recovery.planner import HeardElsewhere, proof
from suite.recovery.rounding import ROUNDINGS
from suite.recovery.solve import Root, Solution
from suite.recovery.step import GradientByName
from suite.recovery.unit_rows import UnitRows

DIRECTIONS = 256
"""Random directions that the gradients of all units are seen in: distances are right to a tenth."""

STRETCHES = 64
"""In how many stretches of the same length samples are taken that nobody put into groups, at most."""

MOST_SHAPES = 12
"""How many proportions within groups are tried, at most."""


@dataclass(frozen=True, eq=False)
class UnitGroups:
    """Units in groups.

    Args:
        name: of one group.
        index: `[units]` the group of each unit, from 0.
    """

    name: str
    index: Index

    @property
    def count(self) -> int:
        """How many groups there are."""
        return int(self.index.max()) + 1


@dataclass(frozen=True, eq=False)
class SolvedInGroups(Solved):
    """Weights of groups on few parameters, to be proven for all units on all parameters.

    Args:
        grouping: the groups, which `heard` and `weights` are about.
        shape: `[units]` the proportions of the weights within them.
        told: `[units]` which units have a gradient by any parameter that was looked at.
        sketch: `[directions, units]` their gradients in random directions, the regulariser's at the end.
    """

    grouping: UnitGroups
    shape: Column
    told: Tensor
    sketch: Tensor

    @property
    def quiet(self) -> Tensor:
        """`[units]` which units have no gradient by these parameters."""
        return ~self.told

    @property
    def column(self) -> Tensor:
        """`[units]` the weights of the units, without the regulariser's; 0 where there is no gradient."""
        group = torch.as_tensor(self.grouping.index, device=self.weights.device)
        shape = torch.as_tensor(self.shape, device=self.weights.device)
        return torch.where(self.told, super().column[group] * shape, 0.0)

    def _result(self, rounding: float, left: float, size: float, here: float) -> tuple[Root, Solution]:
        _, groups = super()._result(rounding, left, size, here)
        more = int(self.few.last is not None)
        told = np.concatenate([self.told.cpu().numpy(), np.ones(more, dtype=bool)])
        units = len(told)
        weights = np.zeros(units)
        weights[: units - more] = self.column.cpu().numpy()
        error = np.full(units, np.inf)
        spread = groups.error[self.grouping.index] * np.abs(self.shape)
        error[: units - more] = np.where(told[: units - more], spread, np.inf)
        if more:
            weights[-1], error[-1] = groups.weights[-1], groups.error[-1]
        r = np.zeros((len(self.sketch) + 1, units + 1))
        r[:-1, :units] = self.sketch.cpu().numpy()
        r[:-1, -1] = r[:-1, :units] @ weights
        r[-1, -1] = here
        solution = replace(
            groups,
            weights=weights,
            error=error,
            identifiable=told,
            silent=~told,
            rank=int(told.sum()),
            inverse=np.zeros((units, 0)),
            null=np.zeros((units, 0)),
        )
        return RootOfFew(r, units), solution


def proven_in_groups(attempt: Attempt, units: Units, most: int) -> Proven | None:
    """The weights, if one formula gives them within each group; None where that cannot be shown.

    Args:
        attempt: the step's gradient and the losses.
        units: the units table.
        most: how many groups may be solved for.
    """
    if not attempt.solvable:
        return None
    last = penalty(attempt)
    groupings = groupings_of(units, attempt.units, most)
    try:
        for rows, graph in _rows(attempt, max((one.count for one in groupings), default=0)):
            for grouping in groupings:
                for shape in _shapes(units, grouping):
                    found = _solved(attempt, rows, grouping, shape, last)
                    if found is None:
                        continue
                    try:
                        shown = proof(attempt, found, graph)
                    except HeardElsewhere:
                        break  # no shape makes these parameters hear more
                    if shown is not None:
                        return replace(shown, within=grouping.name)
                    graph = None  # its buffers are freed
    except Unfit:
        pass
    return None


def groupings_of(units: Units, count: int, most: int) -> list[UnitGroups]:
    """The groups that are tried, the smallest first.

    Args:
        units: the units table.
        count: how many units there are without a regulariser.
        most: how many groups there may be.
    """
    sample = units.sample[:count]
    found = []
    if len(np.unique(sample)) < count:
        found.append(UnitGroups("sample", _numbered(sample)))
    levels = [
        (name, getattr(units, column)[:count])
        for name, column in (("micro-batch", "microbatch"), ("rank", "rank"))
        if getattr(units, column) is not None
    ]
    if levels:
        named = " on a ".join(name for name, _ in levels)
        found.append(UnitGroups(named, _numbered(*(column for _, column in levels))))
    else:
        samples = _numbered(sample)
        whole = int(samples.max()) + 1
        parts = max(each for each in range(1, min(STRETCHES, most) + 1) if whole % each == 0)
        found.append(UnitGroups(f"{whole // parts} samples in a row", samples // (whole // parts)))
    return [one for one in found if one.count <= most]


def _numbered(*columns: Index) -> Index:
    """`[units]` the place of each unit's values among those that there are."""
    index = np.unique(np.stack(columns), axis=1, return_inverse=True)[1]
    return np.asarray(index.reshape(-1), dtype=np.int64)


def _shapes(units: Units, grouping: UnitGroups) -> Iterator[Column]:
    """`[units]` proportions within groups: all alike, then those of the conventions that apply."""
    count = len(grouping.index)
    columns = [np.ones(count)]
    if units.max_norm is None:
        columns += [column[:count] for _, column in applying(units, np.zeros((0, 0)))]
    seen: set[bytes] = set()
    for column in columns:
        sums = np.bincount(grouping.index, weights=np.abs(column))
        within = column / np.where(sums > 0.0, sums, 1.0)[grouping.index]
        key = np.round(within * count / grouping.count, 9).tobytes()
        if key not in seen and np.isfinite(column).all() and len(seen) < MOST_SHAPES:
            seen.add(key)
            yield column


def _rows(attempt: Attempt, wanted: int) -> Iterator[tuple[Sequence[Rows], Tensor | None]]:
    """Gradients of all units by some parameters, and the graph of the losses where it is in one piece."""
    if wanted == 0:
        return
    pieces = attempt.pieces
    for looked_at in (cheap_ones, list):
        rows, graph = first_rows(attempt, pieces[0], looked_at)
        if rows and len(pieces) > 1:
            del graph
            yield rows_of_the_rest(attempt, rows, pieces[1:]), None
        elif rows:
            yield rows, graph
        if attempt.parts == 1:
            break
    if attempt.parts == 1:
        for part in formed_rows(attempt, wanted):
            yield [part], None


def _solved(
    attempt: Attempt, rows: Sequence[Rows], grouping: UnitGroups, shape: Column, last: GradientByName | None
) -> SolvedInGroups | None:
    """The weights of groups, if they explain the gradient on these parameters."""
    device = next(iter(attempt.gradient.values())).device
    group, column = (torch.as_tensor(part, device=device) for part in (grouping.index, shape))
    grouped = [part.grouped(group, column) for part in rows]
    for choice in _choices(grouped, grouping.count):
        found = solved(choice, grouping.count, attempt.gradient, last, attempt.most_condition)
        if found is None or not _explains(found):
            continue
        squares = torch.stack([part.square(attempt.units) for part in rows]).sum(0)
        epsilon = ROUNDINGS * float(torch.finfo(next(iter(attempt.gradient.values())).dtype).eps)
        told = squares.sqrt() > epsilon * squares.max().sqrt()
        generator = torch.Generator().manual_seed(0)
        sketches = [part.sketch(attempt.units, DIRECTIONS, generator, last) for part in rows]
        return SolvedInGroups(
            found.few, found.equations, found.heard, found.weights, found.gradient,
            grouping, shape, told, torch.stack(sketches).sum(0),
        )  # fmt: skip
    return None


def _choices(grouped: Sequence[Rows], count: int) -> Sequence[Sequence[Rows]]:
    """What to solve on."""
    maps = [part for part in grouped if isinstance(part, UnitRows)]
    return choices_of(maps, count) if maps else [grouped]


def _explains(found: Solved) -> bool:
    """Whether the weights leave little of the gradient on the parameters that they were solved on."""
    left = norm_of_all(found.few.without(found.gradient, found.weights).values())
    loud = float((found.weights * found.equations.norms).norm())
    half_digits = float(torch.finfo(next(iter(found.gradient.values())).dtype).eps ** 0.5)
    return left <= half_digits * max(norm_of_all(found.gradient.values()), loud)
