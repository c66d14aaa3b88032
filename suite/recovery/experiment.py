"""A step under experiment: run again under other circumstances, and its gradient solved for weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from suite.algebra.units import Column, Units
from suite.conventions import Convention
from suite.engines.per_sample_gradients import Checked
from suite.loops.autograd import grad
from suite.loops.batch import Batch, map_tensors, tensors
from suite.loops.loop import Regulariser
from suite.recovery.calm import in_eval_mode
from suite.recovery.identify import Match, applying, matches
from suite.recovery.put_back import same
from suite.recovery.reading import Reading
from suite.recovery.solve import Root, Solution, roots, solve, together
from suite.recovery.step import Blocks, Step, gradient_of, left_by
from suite.recovery.surroundings import Surroundings
from suite.recovery.switches import switched, switches

ROUNDINGS = 16  # of the machine epsilon: the least error that a gradient is trusted to have


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
class Experiment:
    """A step with its gradient and the gradients of the units.

    Args:
        step: the training step.
        model: as it was found.
        batch: the samples.
        losses: the unreduced losses, and how they are read.
        regulariser: gives the last unit's loss, or None.
        units: the units table.
        found: the units' gradients.
        gradient: what the step left, by parameter name.
        surroundings: what the step and the losses can reach, put back after each run.
        random: whether the losses draw random numbers.
    """

    step: Step
    model: nn.Module
    batch: Batch
    losses: Reading
    regulariser: Regulariser | None
    units: Units
    found: Checked
    gradient: Blocks
    surroundings: Surroundings
    random: bool = False

    @cached_property
    def blocks(self) -> Mapping[str, Tensor]:
        """By parameter name, `[units, *parameter.shape]`.

        Names are those of the model itself: some models (Keras' Sequential) call the parameters of a copy
        otherwise, and only their order is the same.
        """
        return dict(zip(self.gradient, self.found.blocks.values(), strict=True))

    @property
    def epsilon(self) -> float:
        """Of the dtype that gradients are computed in."""
        return float(torch.finfo(next(iter(self.blocks.values())).dtype).eps)

    # The gradient, solved.

    @cached_property
    def parts(self) -> dict[str, Root]:
        """By parameter, the root of the units' gradients, the parameters and the gradient."""
        return self._roots(self.gradient)

    @cached_property
    def root(self) -> Root:
        """The root over all parameters."""
        return together(self.parts)

    @cached_property
    def applying(self) -> list[tuple[Convention, Column]]:
        """The conventions that apply to this batch, with their coefficients."""
        return applying(self.units, self.root.gram)

    @property
    def size(self) -> float:
        """The norm of the gradient."""
        return float(np.linalg.norm(self.root.side))

    @property
    def half_digits(self) -> float:
        """What rounding stays far below, and everything that is no rounding far above."""
        return float(np.sqrt(self.epsilon))

    @cached_property
    def precision(self) -> float:
        """The relative rounding error that gradients are trusted to have.

        It is measured where that gives more than a few machine epsilons: by how much the units'
        gradients, brought to length one, differ from autograd's. One more backward pass of a sum with
        random signs tells, in which the errors of units do not cancel.
        """
        norms = self.root.norms
        signs = np.random.default_rng(0).choice([-1.0, 1.0], len(norms))
        heard = norms > 1e-6 * norms.max()
        column = np.where(heard, signs / np.where(heard, norms, 1.0), 0.0)
        apart = self.distance(self.reduce(column), self._weighted(column)) / np.sqrt(len(norms))
        return max(ROUNDINGS * self.epsilon, 4 * float(apart))

    def weighting(self, gradient: Blocks, keep: Mapping[str, Tensor] | None = None) -> Weighting:
        """The weights behind `gradient`, seen at the entries `keep` of the parameters only."""
        return self.weighting_of(together(self._roots(gradient, keep)))

    def weighting_of(self, root: Root) -> Weighting:
        """The weights behind the last column of `root`."""
        solution = solve(root.gradients, root.side, self.precision)
        linear = self.is_linear(solution, root.norms)
        found = matches(root, self.applying, self.slack(root, solution), self.units) if linear else []
        return Weighting(solution, linear, solution.rank == len(root.r), found)

    def is_linear(self, solution: Solution, norms: Column) -> bool:
        """Whether the residual is rounding: below half the digits, or that of weights that cancel."""
        cancelling = 0.25 * self.precision * float(np.abs(solution.weights) @ norms)
        return solution.residual <= max(self.half_digits * solution.size, cancelling)

    def slack(self, root: Root, solution: Solution) -> Callable[[Column], float]:
        """For weights, the norm that rounding may leave between their gradient and that of `root`."""

        def allowed(column: Column) -> float:
            whole = float(np.abs(column) @ root.norms) + solution.size
            return solution.residual + 2 * self.precision * whole

        return allowed

    def _roots(self, gradient: Blocks, keep: Mapping[str, Tensor] | None = None) -> dict[str, Root]:
        parameters = {name: p.detach() for name, p in self.model.named_parameters()}
        return roots(self.blocks, [parameters, gradient], keep)

    def reduce(self, column: Column) -> Blocks:
        """The gradient of the weighting `column`, by parameter name."""
        return {
            name: torch.einsum("u,u...->...", torch.as_tensor(column).to(block), block)
            for name, block in self.blocks.items()
        }

    # The step, run again.

    def again(
        self, *, seed: int | None = None, without: Sequence[str] = (), batch: Batch | None = None
    ) -> Blocks:
        """The gradient of another call.

        Args:
            seed: of all random states; as in the first call if None.
            without: the names of switches that are off.
            batch: other samples; the same if None.

        Raises:
            UsageError: The step fails under these circumstances.
        """
        given = self.batch if batch is None else batch
        with switched(without):
            return gradient_of(self.step, self.model, given, seed=seed, surroundings=self.surroundings)

    @cached_property
    def control(self) -> Blocks:
        """The gradient of the step unchanged, once more: only what differs from it is evidence."""
        return self._observed[0]

    @property
    def active(self) -> tuple[str, ...]:
        """The switches that were active while the step ran: layers that it really called."""
        return tuple(name for name in switches.names if name in self._observed[1])

    @cached_property
    def _observed(self) -> tuple[Blocks, set[str]]:
        with switched() as seen:
            gradient = gradient_of(self.step, self.model, self.batch, surroundings=self.surroundings)
        return gradient, seen.names

    def changed_batch(self) -> Batch | None:
        """The batch as one call of the step leaves it; None where it leaves it as it was."""
        given = map_tensors(torch.clone, self.batch)
        with self.surroundings.kept():
            self.surroundings.rewind()
            left_by(self.step, self.model, given)
        return None if all(map(same, tensors(given), tensors(self.batch))) else given

    def next_call(self) -> tuple[Blocks | None, tuple[str, ...]]:
        """The gradient of a call with the plain values that a first one left behind, and their names.

        All else is as at first, random numbers too. None where there are no such values.

        Raises:
            UsageError: The step fails then.
        """
        around = self.surroundings
        with around.kept():
            self._called()
            left = [change for change in around.put_back() if change.redo is not None]
            if not left:
                return None, ()
            for change in left:
                change.redo() if change.redo is not None else None
            return self._called(), tuple(dict.fromkeys(change.name for change in left))

    def _called(self) -> Blocks:
        """What one call leaves, with random numbers as at first; nothing is put back."""
        self.surroundings.rewind()
        return left_by(self.step, self.model, map_tensors(torch.clone, self.batch))

    def moved(
        self, seed: int, column: Column | None = None, without: Sequence[str] = ()
    ) -> tuple[Blocks, Blocks | None]:
        """At parameters moved by 5 %: the step's gradient, and that of the weighting `column`."""
        generator = torch.Generator().manual_seed(seed)
        trained = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        with self.surroundings.kept():
            with torch.no_grad():
                for parameter in trained.values():
                    size = float(parameter.square().mean().sqrt()) or 1.0
                    noise = torch.randn(parameter.shape, generator=generator)
                    parameter.add_(0.05 * size * noise.to(parameter))
            weighted = None if column is None else self._weighted_now(column)
            with switched(without):
                return self._called(), weighted

    def _weighted(self, column: Column) -> Blocks:
        """Autograd's gradient of the losses weighted by `column`."""
        with self.surroundings.kept():
            return self._weighted_now(column)

    def _weighted_now(self, column: Column) -> Blocks:
        """The same at the parameters as they are now."""
        with torch.enable_grad():
            calm = in_eval_mode(self.model)
            trained = {name: p for name, p in calm.named_parameters() if p.requires_grad}
            entries = self.losses(calm, self.batch).flatten()
            loss = (torch.as_tensor(column[: len(entries)]).to(entries) * entries).sum()
            if self.regulariser is not None:
                loss = loss + float(column[-1]) * self.regulariser(calm)
            parts = grad(loss, list(trained.values()))
        return dict(zip(self.gradient, parts, strict=True))

    def distance(self, a: Blocks, b: Blocks) -> float:
        """The norm of `a − b`."""
        squares = [(a[name].double() - b[name].double()).square().sum() for name in a]
        return float(torch.stack(squares).sum().sqrt())

    def differ(self, a: Blocks, b: Blocks) -> bool:
        """Whether two gradients differ by more than rounding."""
        return self.distance(a, b) > self.half_digits * self.size
