"""A step under experiment: run again under other circumstances, and its gradient solved for weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from suite.algebra.units import Column, Units
from suite.conventions import Convention
from suite.engines.per_sample_gradients import Checked
from suite.loops.batch import Batch
from suite.loops.loop import Regulariser
from suite.machine.stages import begins
from suite.recovery.correct_loops import Slack
from suite.recovery.formats import SINGLE, Formats, formats_of, in_formats
from suite.recovery.identify import Match, applying, matches
from suite.recovery.in_float64 import UnitProblem, problem
from suite.recovery.losses import Reading
from suite.recovery.on_few import Proven
from suite.recovery.reruns import Runs
from suite.recovery.rounding import BLIND, MARGIN, ROUNDINGS, Rounding, measure_rounding, weighted
from suite.recovery.solve import Root, Solution, roots, solve, together
from suite.recovery.step import GradientByName
from suite.recovery.unit_gradients import unit_gradients


@dataclass(frozen=True, eq=False)
class Weighting:
    """A gradient solved for its weights.

    Args:
        solution: the weights and what is known of them.
        linear: whether they explain the gradient, up to rounding.
        spans: whether the units' gradients span everything, so that they explain any gradient.
        matches: the conventions that they are, the plainest first; none where they explain nothing.
    """

    solution: Solution
    linear: bool
    spans: bool
    matches: list[Match]

    @property
    def shown(self) -> Column:
        """`[units]` the weights, nan where they cannot be told."""
        return np.where(self.solution.identifiable, self.solution.weights, np.nan)


@dataclass(frozen=True, eq=False)
class Experiment(Runs):
    """A step with its gradient and the gradients of the units.

    Args:
        step: see `Runs`, as for `model`, `batch`, `gradient` and `surroundings`.
        losses: the unreduced losses, and how they are read.
        regulariser: gives the last unit's loss, or None.
        units: the units table.
        engine: the engine that is to compute the units' gradients, when they are asked for.
        computed: these, where they are there, and whether they are in float64, though the losses are not.
        random: whether the losses draw random numbers.
        few: the weights, where they were solved for on few parameters and proven on all.
        memory: how many bytes the units' gradients may take; half of what is free if None.
    """

    losses: Reading
    regulariser: Regulariser | None
    units: Units
    engine: str
    computed: tuple[Checked, bool] | None = None
    random: bool = False
    few: Proven | None = None
    memory: int | None = None

    @property
    def found(self) -> Checked:
        """The units' gradients."""
        return self._computed[0]

    @property
    def engine_used(self) -> str:
        """The name of the engine that computed them; empty where the weights needed none."""
        return self.found.engine if self.few is None else ""

    @property
    def wide(self) -> bool:
        """Whether the units' gradients are in float64, though the losses are not."""
        return self.few is None and self._computed[1]

    @cached_property
    def _computed(self) -> tuple[Checked, bool]:
        if self.computed is not None:
            return self.computed
        given = UnitProblem(self.model, self.batch, self.losses, self.regulariser)
        with self.surroundings.kept():
            return unit_gradients(given, self.engine, self.memory)

    @property
    def counted_batch(self) -> Batch:
        """What divisors may have been counted in."""
        return self.batch

    @cached_property
    def blocks(self) -> Mapping[str, Tensor]:
        """By parameter name, `[units, *parameter.shape]`.

        Names are those of the model itself: some models (Keras' Sequential) call the parameters of a copy
        otherwise, and only their order is the same.
        """
        return dict(zip(self.gradient, self.found.blocks.values(), strict=True))

    @cached_property
    def epsilon(self) -> float:
        """Of the dtype that gradients are computed in; of float32, where the step's has fewer digits."""
        blocks = () if self.few is not None else self.blocks.values()
        dtypes = {part.dtype for part in (*blocks, *self.gradient.values())}
        return max(min(float(torch.finfo(dtype).eps), SINGLE) for dtype in dtypes)

    # The gradient, solved.

    @cached_property
    def parts(self) -> dict[str, Root]:
        """By parameter, the root of the units' gradients, the parameters and the gradient."""
        return self._roots(self.gradient)

    @cached_property
    def root(self) -> Root:
        """The root over all parameters, or over those that the weights were solved on."""
        return together(self.parts) if self.few is None else self.few.root

    @cached_property
    def applying(self) -> list[tuple[Convention, Column]]:
        """The conventions that apply to this batch, with their coefficients."""
        return applying(self.units, self.root.gram)

    @property
    def size(self) -> float:
        """The norm of the gradient."""
        if self.few is not None:
            return self.few.solution.size
        return float(np.linalg.norm(self.root.side))

    @property
    def half_digits(self) -> float:
        """What rounding stays far below, and everything that is no rounding far above.

        Half the digits of float32 or float64; in coarser formats, what `rounding` measures.
        """
        return self.tolerance if self.coarse else float(np.sqrt(self.epsilon))

    # What narrow formats do to it.

    @property
    def formats(self) -> Formats:
        """The formats that the step's gradient went through."""
        return formats_of(self.watched.seen, self.model)

    @cached_property
    def coarse(self) -> bool:
        """Whether the digits of float32 do not explain the step, and narrow formats may be the reason.

        They do where a convention has the gradient, times a simple number at most, or unknown weights have
        it to the last digits.
        """
        if self.few is not None:
            return False  # proven to the last digits
        whole = self.root
        solution = solve(whole.gradients, whole.side, self.precision)
        if solution.residual <= self._linear_below(solution, whole.norms):
            free = solution.rank == len(whole.r)  # any gradient is a weighting: no residual speaks
            if not free and solution.residual <= MARGIN * self.precision * solution.size:
                return False
            slack = self.exact_slack(whole, solution.residual)
            found = matches(whole, self.applying, slack, self.units)
            if found and found[0].simplicity is not None:
                return False
        return self.formats.reduced

    @cached_property
    def tolerance(self) -> float:
        """The relative error that rounding may leave in the gradient of a step in narrow formats."""
        whole = self.root
        rough = solve(whole.gradients, whole.side, self.precision, MARGIN * self.formats.epsilon)
        measured = self.rounding(rough.weights)
        return BLIND if measured is None else min(measured.tolerance, BLIND)

    @property
    def blind(self) -> bool:
        """Whether rounding may be as large as the gradient, so that nothing can be told."""
        return self.coarse and self.tolerance >= BLIND

    def rounding(self, column: Column) -> Rounding | None:
        """What the step's formats do to the gradient of the weighting `column`; see `measure`."""
        key = column.astype(np.float32).tobytes()
        if key not in self._measured:
            given = UnitProblem(self.model, self.batch, self.losses, self.regulariser)
            with self.surroundings.kept():
                narrow, exact = in_formats(given, self.formats), self.reduce(column)
                self._measured[key] = measure_rounding(narrow, self.formats, column, exact, self.blocks)
        return self._measured[key]

    @cached_property
    def _measured(self) -> dict[bytes, Rounding | None]:
        return {}

    # Solved.

    @cached_property
    def precision(self) -> float:
        """The relative rounding error that gradients are trusted to have.

        It is measured where that gives more than a few machine epsilons: by how much the units'
        gradients, brought to length one, differ from autograd's. One more backward pass of a sum with
        random signs tells, in which the errors of units do not cancel.
        """
        if self.few is not None:
            return self.few.precision
        norms = self.root.norms
        signs = np.random.default_rng(0).choice([-1.0, 1.0], len(norms))
        heard = norms > 1e-6 * norms.max()
        column = np.where(heard, signs / np.where(heard, norms, 1.0), 0.0)
        apart = self.distance(self.reduce(column), self._weighted(column)) / np.sqrt(len(norms))
        return max(ROUNDINGS * self.epsilon, 4 * float(apart))

    @cached_property
    def whole(self) -> Weighting:
        """The weights behind the step's gradient."""
        return self.weighting_of(self.root)

    def weighting(self, gradient: GradientByName, keep: Mapping[str, Tensor] | None = None) -> Weighting:
        """The weights behind `gradient`, seen at the entries `keep` of the parameters only."""
        return self.weighting_of(together(self._roots(gradient, keep)))

    def weighting_of(self, root: Root) -> Weighting:
        """The weights behind the last column of `root`."""
        if self.few is not None and root is self.few.root:
            solution = self.few.solution
        else:
            coarse = self.tolerance if self.coarse else 0.0
            solution = solve(root.gradients, root.side, self.precision, coarse)
        linear = self.is_linear(solution, root.norms)
        slack, error = self.slack(root, solution), self.scale_error(root)
        found = matches(root, self.applying, slack, self.units, error) if linear else []
        return Weighting(solution, linear, solution.rank == len(root.r), found)

    def is_linear(self, solution: Solution, norms: Column) -> bool:
        """Whether the residual is rounding: below half the digits, or that of weights that cancel."""
        return solution.residual <= self._linear_below(solution, norms, self.half_digits)

    def _linear_below(self, solution: Solution, norms: Column, relative: float | None = None) -> float:
        relative = float(np.sqrt(self.epsilon)) if relative is None else relative
        cancelling = 0.25 * self.precision * float(np.abs(solution.weights) @ norms)
        return max(relative * solution.size, cancelling)

    def slack(self, root: Root, solution: Solution) -> Slack:
        """For weights, the norm that rounding may leave between their gradient and that of `root`."""
        if self.few is not None and root is self.few.root:
            return self.exact_slack(root, self.few.left)
        if not self.coarse:
            return self.exact_slack(root, solution.residual)
        exactly = self.exact_slack(root)
        rivals = self._rivals(root) if root is self.root else []

        def allowed(column: Column) -> float:
            gradient = root.gradients @ column
            length = float(np.linalg.norm(gradient))
            if float(np.linalg.norm(root.side - gradient)) > BLIND * length:
                return 0.0  # whatever rounding does: not measured
            measured = self.rounding(column)
            if measured is None or measured.blind:
                return exactly(column)
            return exactly(column) + measured.allowed(column, rivals, root)

        return allowed

    def scale_error(self, root: Root) -> Slack | None:
        """For weights, how far rounding may take their gradient along itself; None without narrow formats."""
        if not self.coarse:
            return None

        def error(column: Column) -> float:
            measured, length = self.rounding(column), float(np.linalg.norm(root.gradients @ column))
            return 0.0 if measured is None else measured.towards(column, length, length**2)

        return error

    def exact_slack(self, root: Root, more: float = 0.0) -> Slack:
        """The same where only the units' gradients and the sum over them are rounded; and `more`."""
        size = float(np.linalg.norm(root.side))
        return lambda column: more + 2 * self.precision * (float(np.abs(column) @ root.norms) + size)

    def _rivals(self, root: Root) -> list[Column]:
        """The conventions, to scale, that come as near to the gradient as a blind eye would see."""
        found = []
        for _, column in self.applying:
            gradient = root.gradients @ column
            square = float(gradient @ gradient)
            scale = float(gradient @ root.side) / square if square > 0.0 else 0.0
            if np.linalg.norm(root.side - scale * gradient) <= BLIND * abs(scale) * square**0.5:
                found.append(scale * column)
        return found

    def identical(self, a: Match, b: Match) -> bool:
        """Whether two conventions have one gradient on this batch, in exact arithmetic."""
        step = a.scale * a.column - b.scale * b.column
        whole = float((np.abs(a.scale * a.column) + np.abs(b.scale * b.column)) @ self.root.norms)
        return float(np.linalg.norm(self.root.gradients @ step)) <= 2 * self.precision * whole

    def _roots(self, gradient: GradientByName, keep: Mapping[str, Tensor] | None = None) -> dict[str, Root]:
        parameters = {name: p.detach() for name, p in self.model.named_parameters()}
        return roots(self.blocks, [parameters, gradient], keep)

    def reduce(self, column: Column) -> GradientByName:
        """The gradient of the weighting `column`, by parameter name."""
        if self.few is not None:
            return self._weighted(column)
        return {
            name: torch.einsum("u,u...->...", torch.as_tensor(column).to(block), block)
            for name, block in self.blocks.items()
        }

    def with_gradient(self, gradient: GradientByName) -> Experiment:
        """The same experiment with another gradient to explain."""
        other = replace(self, gradient=gradient, few=None)
        carried = {"precision", "blocks", "_observed", "_computed"}  # of the step and the units alone
        carried &= vars(self).keys() - ({"precision"} if self.few is not None else set())
        vars(other).update({name: vars(self)[name] for name in carried})
        return other

    # The step, run again.

    def moved(
        self, seed: int, column: Column | None = None, without: Sequence[str] = ()
    ) -> tuple[GradientByName, GradientByName | None]:
        """At parameters moved by 5 %: the step's gradient, and that of the weighting `column`."""
        with self.displaced(self.direction(seed), 0.05):
            weighted = None if column is None else self._weighted_now(column)
            return self.called(without), weighted

    def _weighted(self, column: Column) -> GradientByName:
        """Autograd's gradient of the losses weighted by `column`."""
        with self.surroundings.kept():
            return self._weighted_now(column)

    def _weighted_now(self, column: Column) -> GradientByName:
        """The same at the parameters as they are now."""
        begins("an experiment: the losses once more, weighted")
        exact = problem(self.model, self.batch, self.losses, self.regulariser, wide=self.wide)
        return dict(zip(self.gradient, weighted(exact, column), strict=True))

    def differ(self, a: GradientByName, b: GradientByName) -> bool:
        """Whether two gradients differ by more than rounding."""
        return self.distance(a, b) > self.half_digits * self.size
