"""Batches whose units have chosen gradients: a units table, and losses that are linear in the parameters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from suite.algebra.units import Units
from suite.loops.loop import Loop
from suite.strategies.tables import source, tables

if TYPE_CHECKING:
    from suite.algebra.gram import Gram
    from suite.loops.batch import Batch


@dataclass(frozen=True, eq=False)
class Example:
    """A units table and a model in which unit `u` has the gradient `rows[u]`.

    Args:
        units: the table; the gradient of its regulariser is the parameters themselves.
        rows: `[units, params]` the gradient of each unit; zero for a unit without elements.
    """

    units: Units
    rows: NDArray[np.float64]

    @classmethod
    def of(cls, table: Units, rows: ArrayLike) -> Example:
        """The example of these numbers."""
        return cls(table, np.asarray(rows, dtype=np.float64))

    @property
    def gram(self) -> Gram:
        """`[units, units]` the Gram matrix `K`."""
        return self.rows @ self.rows.T

    @cached_property
    def loop(self) -> Loop:
        """A model and a batch with these gradients, for a literal loop."""
        data = self.rows[self.units.data].reshape(self.units.n, -1, self.rows.shape[1])
        penalty = half_square if self.units.regulariser else None
        start = self.rows[-1] if penalty else np.zeros(self.rows.shape[1])
        batch = {"gradient": torch.from_numpy(data.copy())}
        return Loop(Plane(torch.from_numpy(start)), batch, linear_losses, self.units, penalty)

    @property
    def python(self) -> str:
        """The expression that makes this example."""
        return f"Example.of({source(self.units)}, {self.rows.tolist()!r})"


class Plane(nn.Module):
    """Parameters and nothing else: every loss is linear in them, so gradients can be chosen."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(start.clone())


def linear_losses(model: nn.Module, batch: Batch) -> Tensor:
    """`[samples, parts]` the losses `⟨g_u, θ⟩`."""
    losses: Tensor = batch["gradient"] @ model.theta
    return losses


def half_square(model: nn.Module) -> Tensor:
    """`½‖θ‖²`, whose gradient is θ."""
    penalty: Tensor = 0.5 * model.theta.square().sum()  # type: ignore[operator]
    return penalty


@st.composite
def examples(
    draw: st.DrawFn,
    needs: tuple[str, ...] = (),
    *,
    min_samples: int = 1,
    max_samples: int = 6,
    max_params: int = 3,
    empty: bool = True,
    extras: bool = True,
) -> Example:
    """A units table as `units` draws it, with gradients of a few parameters; see there for the arguments."""
    size = (min_samples, max_samples)
    table, rows = draw(tables(needs, size, max_params=max_params, empty=empty, extras=extras))
    silent = table.data & (table.elements == 0)  # a sum over no elements is zero
    return Example(table, np.where(silent[:, None], 0.0, rows))
