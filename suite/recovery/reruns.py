"""A step run again: once more, with other random numbers, other samples, layers switched off, elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from suite.errors import UsageError
from suite.loops.batch import Batch, map_tensors, tensors
from suite.loops.norms import root_of_sum, square
from suite.machine.stages import begins
from suite.recovery.drawing import Drawing, drawing, hushed
from suite.recovery.formats import Watch
from suite.recovery.put_back import same
from suite.recovery.step import GradientByName, Step, gradient_of, left_by
from suite.recovery.surroundings import Surroundings, same_state
from suite.recovery.switches import switched, switches
from suite.recovery.visited import visiting

WATCHED = "an experiment: the step once more, unchanged, and what it calls is noted"


@dataclass(frozen=True, eq=False)
class Runs:
    """A step, and what it left when it was called first.

    Args:
        step: the training step.
        model: as it was found.
        batch: the samples.
        gradient: what the step left, by parameter name.
        surroundings: what the step and the losses can reach, put back after each run.
    """

    step: Step
    model: nn.Module
    batch: Batch
    gradient: GradientByName
    surroundings: Surroundings

    def again(
        self, *, seed: int | None = None, without: Sequence[str] = (), batch: Batch | None = None
    ) -> GradientByName:
        """The gradient of another call.

        Args:
            seed: of all random states; as in the first call if None.
            without: the names of switches that are off.
            batch: other samples; the same if None.

        Raises:
            UsageError: The step fails under these circumstances.
        """
        given = self.batch if batch is None else batch
        what = "an experiment: the step once more"
        what += ", with other random numbers" * (seed is not None) + ", with other samples" * (
            batch is not None
        )
        what += f", without {' and '.join(without)}" * bool(without)
        with switched(without), hushed(without):
            return gradient_of(
                self.step, self.model, given, seed=seed, surroundings=self.surroundings, what=what
            )

    @cached_property
    def control(self) -> GradientByName:
        """The gradient of the step unchanged, once more: only what differs from it is evidence.

        Where the step fails when it is called once more, that of the first call.
        """
        return self._observed[0]

    @property
    def _cost(self) -> float | None:
        """How many seconds a call takes."""
        return self.surroundings.seconds

    @property
    def reruns(self) -> bool:
        """Whether there is a step that can be run again."""
        return True

    @property
    def active(self) -> tuple[str, ...]:
        """The switches that were active while the step ran: layers that it really called.

        Torch's own come first, then the kinds of modules that drew random numbers besides.
        """
        own = tuple(name for name in switches.names if name in self._observed[1])
        return (*own, *self.drawing(own).in_train_mode)

    def drawing(self, without: Sequence[str] = ()) -> Drawing:
        """Who draws random numbers in a call without these layers.

        Raises:
            UsageError: The step fails under these circumstances.
        """
        around = self.surroundings
        with drawing(around.random_numbers, same_state) as seen:
            self.again(without=without)
        return seen

    def places(self, without: Sequence[str] = ()) -> GradientByName:
        """The parameters as they are when a call takes its gradient last, where that is elsewhere.

        Raises:
            UsageError: The step fails under these circumstances.
        """
        before = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        there: GradientByName = {}
        with ExitStack() as stack:
            for name, p in self.model.named_parameters():
                if p.requires_grad and p.is_leaf:
                    hook = p.register_post_accumulate_grad_hook(partial(_note, there, name))
                    stack.callback(hook.remove)
            self.again(without=without)
        moved = {name: p for name, p in there.items() if p.shape == before[name].shape}
        return {name: p for name, p in moved.items() if not torch.equal(p, before[name])}

    def visited(self, without: Sequence[str] = (), batch: Batch | None = None) -> list[GradientByName]:
        """The values of the parameters at which a call runs the network, or a copy of it.

        Raises:
            UsageError: The step fails under these circumstances.
        """
        with visiting(self.model) as places:
            self.again(without=without, batch=batch)
        return places

    @property
    def watched(self) -> Watch:
        """The formats that numbers had while the step ran."""
        return self._observed[2]

    @cached_property
    def _observed(self) -> tuple[GradientByName, set[str], Watch]:
        with switched() as seen, Watch() as watch:
            try:
                gradient = gradient_of(
                    self.step, self.model, self.batch, surroundings=self.surroundings, what=WATCHED
                )
            except UsageError:
                gradient = self.gradient
        return gradient, seen.names, watch

    def changed_batch(self) -> Batch | None:
        """The batch as one call of the step leaves it; None where it leaves it as it was."""
        given = map_tensors(torch.clone, self.batch)
        begins("an experiment: the step once more, to see what it does to its batch", self._cost)
        with self.surroundings.kept():
            self.surroundings.rewind()
            left_by(self.step, self.model, given)
        return None if all(map(same, tensors(given), tensors(self.batch))) else given

    def next_call(self) -> tuple[GradientByName | None, tuple[str, ...]]:
        """The gradient of a call with the plain values that a first one left behind, and their names.

        All else is as at first, random numbers too. None where there are no such values.

        Raises:
            UsageError: The step fails then.
        """
        around = self.surroundings
        with around.kept():
            self.called()
            left = {change.name: change.redo for change in around.put_back() if change.redo is not None}
            if not left:
                return None, ()
            for redo in left.values():
                redo()
            return self.called(), tuple(left)

    def called(self, without: Sequence[str] = (), batch: Batch | None = None) -> GradientByName:
        """What one call leaves, with random numbers as at first; nothing is put back.

        Raises:
            UsageError: The step fails.
        """
        begins("an experiment: the step once more, at other parameters or from another state", self._cost)
        self.surroundings.rewind()
        with switched(without), hushed(without):
            return left_by(
                self.step, self.model, map_tensors(torch.clone, self.batch if batch is None else batch)
            )

    @contextmanager
    def placed(self, there: Mapping[str, Tensor]) -> Iterator[None]:
        """Inside, these parameters are what is given; all is put back after."""
        with self.surroundings.kept():
            with torch.no_grad():
                for name, parameter in self.model.named_parameters():
                    if name in there:
                        parameter.copy_(there[name])
            yield

    @contextmanager
    def displaced(self, direction: Mapping[str, Tensor], far: float) -> Iterator[None]:
        """Inside, the parameters are moved by `far` times a direction; all is put back after."""
        with self.surroundings.kept():
            with torch.no_grad():
                for name, parameter in self.model.named_parameters():
                    if name in direction:
                        parameter.add_(far * direction[name].to(parameter))
            yield

    def direction(self, seed: int) -> GradientByName:
        """A random direction, in each tensor as long as the tensor is."""
        generator = torch.Generator().manual_seed(seed)
        return {
            name: (float(p.detach().square().mean().sqrt()) or 1.0)
            * torch.randn(p.shape, generator=generator, device="cpu").to(p.detach())
            for name, p in self.model.named_parameters()
            if p.requires_grad
        }

    def distance(self, a: GradientByName, b: GradientByName) -> float:
        """The norm of `a − b`."""
        return root_of_sum([square(a[name], b[name]) for name in a])


def _note(there: GradientByName, name: str, parameter: Tensor) -> None:
    there[name] = parameter.detach().clone()
