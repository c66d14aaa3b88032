"""Solve on few parameters, prove on all: the weights of units whose gradients are never all formed.

A gradient that weights the units, `g = Gᵀc`, does so on every subset of the parameters. So `c` is solved for
where the units' gradients cost least and are far from parallel, and one weighted backward pass `Σ c_u ℓ_u`
over everything proves it: what that leaves of the step's gradient on all parameters is rounding, or else the
step is no such weighting, and nothing is said here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from suite.algebra.gram import Gram
from suite.loops.norms import norm_of_all, square
from suite.recovery.formed_rows import FormedRows
from suite.recovery.normal_equations import NormalEquations
from suite.recovery.rounding import MARGIN, ROUNDINGS
from suite.recovery.solve import Root, Solution
from suite.recovery.step import GradientByName
from suite.recovery.unit_rows import UnitRows

WELL_CONDITIONED = 100.0
"""Up to here weights are solved for on the parameters that cost least; beyond, on more of them."""
MOST_CONDITION = {torch.float32: 2e3, torch.float64: 2e4}
"""Beyond, a QR decomposition of all gradients keeps digits that the Gram matrix loses."""

Rows = UnitRows | FormedRows


class RootOfFew(Root):
    """A root over few parameters, from which no norms of whole gradients follow."""

    @property
    def gram(self) -> Gram:
        """Of no unit: clipping, the only thing that looks at norms, is about all parameters."""
        return np.zeros((0, 0))


@dataclass(frozen=True, eq=False)
class Proven:
    """Weights that were solved for on few parameters and proven on all.

    Args:
        root: of the units' gradients by these parameters, with the step's as the last column.
        solution: the weights; its residual and size are those of all parameters.
        precision: the relative rounding error of the units' gradients.
        left: the norm of what the weights leave on the few parameters.
        names: of the parameters that were solved on.
        entries: `[samples]` or `[samples, parts]` the losses.
        within: what has one weight, times a formula's; empty where each unit has its own.
    """

    root: Root
    solution: Solution
    precision: float
    left: float
    names: tuple[str, ...]
    entries: Tensor
    within: str = ""


def solved(
    rows: Sequence[Rows],
    units: int,
    gradient: GradientByName,
    last: GradientByName | None,
    condition: float,
) -> Solved | None:
    """The weights on the parameters of `rows`; None where these do not tell them.

    Args:
        rows: the units' gradients, by some parameters.
        units: how many units there are without a regulariser.
        gradient: of the step.
        last: that of the regulariser, if there is one.
        condition: the largest that is of use.
    """
    squares = sum((part.square(units) for part in rows), torch.zeros((), dtype=torch.float64, device="cpu"))
    if not isinstance(squares, Tensor) or squares.ndim == 0:
        return None
    epsilon = ROUNDINGS * float(torch.finfo(next(iter(gradient.values())).dtype).eps)
    heard = squares.sqrt() > epsilon * squares.max().sqrt()
    count = int(heard.sum())
    if count == 0 or sum(part.size for part in rows) < count + (last is not None):
        return None
    place = torch.where(heard, heard.cumsum(0) - 1, -1)
    few = Few([part.renumbered(place) for part in rows], count, last)
    gram = few.gram()
    equations = NormalEquations.of(gram, condition)
    if equations is None:
        return None
    kept = few.of(gradient)
    weights = equations.refined(few.project(kept), lambda c: few.project(few.without(kept, c)))
    return Solved(few, equations, heard, weights, kept)


@dataclass(frozen=True, eq=False)
class Few:
    """Units' gradients by few parameters, and the regulariser's.

    Args:
        rows: those of the units.
        units: how many there are.
        last: the regulariser's, or None.
    """

    rows: Sequence[Rows]
    units: int
    last: GradientByName | None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""
        return tuple(dict.fromkeys(name for part in self.rows for name in part.names))

    @property
    def size(self) -> int:
        """How many parameters there are."""
        return sum(part.size for part in self.rows)

    def of(self, gradient: GradientByName) -> GradientByName:
        """A gradient by these parameters alone."""
        return {name: gradient[name] for name in self.names}

    def gram(self) -> Tensor:
        """`[units, units]` in float64, the lower triangle; with the regulariser at the end."""
        more = self.last is not None
        first = next(iter(self._device()))
        total = torch.zeros(self.units + more, self.units + more, dtype=torch.float64, device=first)
        inside = total[: self.units, : self.units] if more else total
        for part in self.rows:
            part.add_gram(inside)
        if self.last is not None:
            mine = self.of(self.last)
            total[-1, :-1] = self._inner(mine)
            total[-1, -1] = sum(square(part) for part in mine.values())
        return total

    def project(self, gradient: GradientByName) -> Tensor:
        """`[units]` inner products with a gradient by these parameters."""
        found = self._inner(gradient)
        if self.last is None:
            return found
        mine = [
            (part.double() * gradient[k].double().reshape(part.shape)).sum()
            for k, part in self.of(self.last).items()
        ]
        return torch.cat([found, torch.stack(mine).sum()[None]])

    def without(self, gradient: GradientByName, column: Tensor) -> GradientByName:
        """What weights leave of a gradient by these parameters, in float64."""
        left = {
            name: part.to(torch.float64, copy=True, memory_format=torch.contiguous_format)
            for name, part in gradient.items()
        }
        for part in self.rows:
            part.subtract(column, left)
        if self.last is not None:
            for name, own in self.of(self.last).items():
                left[name] -= column[-1] * own.double()
        return left

    def _inner(self, gradient: GradientByName) -> Tensor:
        return torch.stack([part.project(gradient, self.units) for part in self.rows]).sum(0)

    def _device(self) -> Sequence[torch.device]:
        first = self.rows[0]
        return [first.a.device if isinstance(first, UnitRows) else next(iter(first.blocks.values())).device]


@dataclass(frozen=True, eq=False)
class Solved:
    """Weights on few parameters, to be proven on all.

    Args:
        few: the units' gradients by these parameters.
        equations: that were solved.
        heard: `[units]` which units have a gradient; the others have no weight.
        weights: `[heard]`, the regulariser's last.
        gradient: the step's, by these parameters.
    """

    few: Few
    equations: NormalEquations
    heard: Tensor
    weights: Tensor
    gradient: GradientByName

    def better(self, other: Solved) -> bool:
        """Whether these hear more units than others do, or are better conditioned."""
        mine, theirs = int(self.heard.sum()), int(other.heard.sum())
        return mine > theirs or (mine == theirs and self.equations.condition < other.equations.condition)

    @property
    def formed(self) -> bool:
        """Whether these are gradients of samples that an engine formed, which may couple them unseen."""
        return any(isinstance(part, FormedRows) for part in self.few.rows)

    @property
    def quiet(self) -> Tensor:
        """`[units]` which units have no gradient by these parameters."""
        return ~self.heard

    @property
    def column(self) -> Tensor:
        """`[units]` the weights of the units, without the regulariser's; 0 where there is no gradient."""
        total = self.weights.new_zeros(len(self.heard))
        total[self.heard] = self.weights[: self.few.units]
        return total

    def proven(self, gradient: GradientByName, left: float, entries: Tensor) -> Proven | None:
        """The weights with their bounds, if they leave nothing but rounding on all parameters.

        Args:
            gradient: of the step.
            left: the norm of what they leave of it.
            entries: the losses.
        """
        dtype = next(iter(gradient.values())).dtype
        epsilon = ROUNDINGS * float(torch.finfo(dtype).eps)
        here = norm_of_all(self.few.without(self.gradient, self.weights).values())
        loud = float((self.weights * self.equations.norms).norm())
        size, few = norm_of_all(gradient.values()), norm_of_all(self.gradient.values())
        free = self.few.size - len(self.weights)
        here *= np.sqrt(self.few.size / free) if free > 0 else 1.0
        # What cancels in the sum is rounded as what is summed: by how much, the few parameters tell.
        scale = max(size, loud * size / few if few > 0.0 else 0.0)
        if size == 0.0 or left > MARGIN * epsilon * scale:
            return None
        precision = max(epsilon, MARGIN * here / loud if loud > 0.0 else 0.0)
        rounding = max(MARGIN * here, epsilon * float(max(few, loud)))
        return Proven(*self._result(rounding, left, size, here), precision, here, self.few.names, entries)

    def _result(self, rounding: float, left: float, size: float, here: float) -> tuple[Root, Solution]:
        more = self.few.last is not None
        heard = np.concatenate([self.heard.cpu().numpy(), np.ones(int(more), dtype=bool)])
        units, count = len(heard), len(self.weights)
        r = np.zeros((count + 1, units + 1))
        self.equations.write_root(r[:-1], np.flatnonzero(heard))
        weights = np.zeros(units)
        weights[heard] = self.weights.cpu().numpy()
        r[:-1, -1] = r[:-1, :-1] @ weights
        r[-1, -1] = here
        error = np.full(units, np.inf)
        error[heard] = self.equations.spread * rounding
        solution = Solution(
            weights=weights,
            error=error,
            identifiable=heard,
            silent=~heard,
            residual=left,
            size=size,
            rounding=rounding,
            rank=count,
            condition=self.equations.condition,
            inverse=np.zeros((units, 0)),
            null=np.zeros((units, 0)),
            threshold=0.0,
        )
        return RootOfFew(r, units), solution
