"""What may stand in the formulas of a batch: the units table's quantities, and what is counted in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from suite.algebra.quantities import Quantities
from suite.algebra.units import Column
from suite.recovery import counts
from suite.recovery.correct_loops import TORCH_ADDS
from suite.recovery.solve import Root

if TYPE_CHECKING:
    from suite.algebra.units import Units
    from suite.loops.batch import Batch

HEARD, NOT_ZERO = "units with a gradient", "losses that are not zero"


def known(
    units: Units, batch: Batch, heard: NDArray[np.bool_], root: Root, losses: Column, weights: Column
) -> Iterator[Quantities]:
    """The quantities of a batch; once more with what PyTorch adds to a norm, where there is a threshold.

    Args:
        units: the units table.
        batch: the samples.
        heard: `[units]` whether the unit's gradient is not zero.
        root: the units' gradients.
        losses: `[units]` their losses.
        weights: `[units]` the weights, nan where they cannot be told.
    """
    plain = Quantities.of(units)
    named = counts.numbers(batch, units.n, set(plain.numbers.values()))
    loud = float(heard[units.data].sum())
    if loud < units.data.sum() and loud not in plain.numbers.values():
        named = _with_loud(NOT_ZERO if (losses != 0).sum() == loud else HEARD, loud, named)
    varying = counts.columns(batch, units, list(plain.columns.values()))
    for added in (units.added_to_norm, TORCH_ADDS) if units.max_norm is not None else (units.added_to_norm,):
        table = replace(units, added_to_norm=added)
        yield Quantities.of(table, numbers=named, columns=varying, gram=root.gram)
    deviations = counts.deviations(batch, units.n)
    if deviations:
        centred = {name: column for name, column in varying.items() if name.endswith("less its mean)")}
        yield Quantities.of(units, numbers=deviations, columns=centred, gram=root.gram)
    for name, column in counts.grouped(batch, units):
        if _proportional(weights, column):
            yield Quantities.of(units, columns={name: column}, gram=root.gram)


def of_losses(units: Units, losses: Column) -> Quantities:
    """The quantities of a batch with what a loss may be divided by that is made of the losses themselves.

    A root of a mean leaves one over twice that root; a loss over its own value leaves one over it.
    """
    mean = float(losses[units.data].sum()) / units.n
    numbers = {"mean of the losses": mean, "root of the mean loss": mean**0.5} if mean > 0 else {}
    return Quantities.of(units, numbers=numbers, columns=dict(_of_pieces(units, losses)))


def _of_pieces(units: Units, losses: Column) -> Iterator[tuple[str, Column]]:
    """`[units]` the same of the losses of each micro-batch or rank, by name.

    With the 2 in it, as its derivative has it: 2·K would be n where there are two samples in each.
    """
    for says, pieces in (("micro-batch", units.microbatch), ("rank", units.rank)):
        if pieces is None:
            continue
        asked = [units.data & (pieces == piece) for piece in pieces]
        samples = np.array([len(np.unique(units.sample[mine])) for mine in asked])
        means = np.array([float(losses[mine].sum()) for mine in asked]) / np.maximum(samples, 1)
        if (means[units.data] > 0).all():
            yield f"mean of the losses of the {says}", means
            yield f"twice the root of the mean loss of the {says}", 2.0 * np.sqrt(np.maximum(means, 0.0))


def _proportional(weights: Column, column: Column) -> bool:
    """Whether weights are a multiple of a column, wherever they can be told."""
    told = np.isfinite(weights) & np.isfinite(column)
    given, wanted = column[told], weights[told]
    square = float(given @ given)
    if len(given) < 3 or square == 0.0:
        return False
    rest = wanted - (float(given @ wanted) / square) * given
    return float(np.abs(rest).max()) <= 1e-6 * float(np.abs(wanted).max())


def _with_loud(name: str, loud: float, named: dict[str, float]) -> dict[str, float]:
    """The counts of a batch, and that of what is heard; one that is the same number has both names."""
    same = next((other for other, value in named.items() if value == loud), None)
    if same is None:
        return {name: loud, **named}
    return {f"{name} or the {same}": loud, **{k: v for k, v in named.items() if k != same}}
