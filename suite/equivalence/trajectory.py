"""The training check: train both conventions, each with its own hyperparameters, and compare the weights."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from suite.equivalence.equivalent import Clip, Equivalence, Phase
from suite.equivalence.law import Law
from suite.equivalence.laws import law
from suite.errors import UsageError, one_line

if TYPE_CHECKING:
    from suite.conventions import Convention
    from suite.loops.loop import Loop

Backward = Callable[[nn.Module, int], Tensor | None]
"""`backward(model, step)` adds the gradient of step 0, 1, … to `.grad`, and returns the loss, a scalar.

It may return None for an optimizer that looks at gradients only; LBFGS alone compares losses.
"""


@dataclass(frozen=True)
class TrainingCheck:
    """How far the other convention's weights end up from the reference's, over all steps.

    Args:
        steps: how many steps both sides took.
        converted: the largest `‖w_b − w_a‖ / ‖w_a‖` with the equivalent hyperparameters.
        unchanged: the same with the hyperparameters left as they were.
        scheduled: the same with the schedule of the equivalence; None where there is none.
        converted_by_step: `[steps]` what `converted` is the largest of.
        unchanged_by_step: `[steps]` what `unchanged` is the largest of.
    """

    steps: int
    converted: float
    unchanged: float
    scheduled: float | None = None
    converted_by_step: tuple[float, ...] = ()
    unchanged_by_step: tuple[float, ...] = ()


def check_training(
    model: nn.Module,
    reference: Backward | Sequence[Tensor],
    other: Backward,
    equivalence: Equivalence,
    *,
    steps: int = 100,
) -> TrainingCheck:
    """Train `model` under both conventions and measure how far the weights part.

    Args:
        model: where both sides start; copied, not changed. Take it (and the data) in float64: there, an
            exact law and a scale that is a power of two give 0.0.
        reference: leaves the gradient of the old convention; or `[steps]` the weights that its training
            with `equivalence.given` came to.
        other: leaves the gradient of the new one, `equivalence.scale` times as large.
        equivalence: the hyperparameters (and clip thresholds) of both sides.
        steps: how many steps to train.

    Raises:
        UsageError: The reference diverges, or the installed torch has no such optimizer.
    """

    def side(backward: Backward, *, new: bool, schedule: Sequence[Phase] = ()) -> Iterator[Tensor]:
        return trajectory(
            model,
            backward,
            equivalence.optimizer,
            equivalence.hyperparameters if new else equivalence.given,
            steps=steps,
            max_norm=equivalence.max_norm if new else equivalence.given_max_norm,
            clip=equivalence.clip,
            schedule=schedule,
        )

    with default_dtype_of(model):
        return _compare(side, reference, other, equivalence, steps)


@contextlib.contextmanager
def default_dtype_of(model: nn.Module) -> Iterator[None]:
    """Let torch's default dtype be the model's for a while: ASGD keeps its rate in the default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(next(model.parameters()).dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _compare(
    side: Callable[..., Iterator[Tensor]],
    reference: Backward | Sequence[Tensor],
    other: Backward,
    equivalence: Equivalence,
    steps: int,
) -> TrainingCheck:
    weights = list(side(reference, new=False)) if callable(reference) else reference
    if weights and not bool(torch.stack([w.isfinite().all() for w in weights]).all()):
        raise UsageError(
            f"training diverges within {steps} steps with the hyperparameters given, so that nothing "
            "can be compared: take a smaller lr or fewer steps"
        )
    scheduled = None
    if equivalence.schedule:
        scheduled = distance(weights, side(other, new=True, schedule=equivalence.schedule))
    converted, unchanged = (distances(weights, side(other, new=new)) for new in (True, False))
    return TrainingCheck(
        steps=steps,
        converted=max(converted, default=0.0),
        unchanged=max(unchanged, default=0.0),
        scheduled=scheduled,
        converted_by_step=converted,
        unchanged_by_step=unchanged,
    )


def following(
    convention: Convention, loop: Callable[[nn.Module, int], Loop], *, loss: bool = True
) -> Backward:
    """The literal loop of a convention, step by step.

    The loss that is returned is the one whose gradient the loop leaves, which LBFGS compares; where the
    coefficients depend on the gradients there is none, and the sum of the losses stands for it.

    Args:
        convention: whose reference loop is run.
        loop: gives the model's `Loop` over the batch of a step.
        loss: whether the loss is returned, which takes one more forward pass.
    """

    def backward(model: nn.Module, step: int) -> Tensor | None:
        current = loop(model, step)
        convention.reference_loop(current)
        return computed(current) if loss else None

    def computed(current: Loop) -> Tensor:
        with torch.no_grad():
            losses = current.losses().flatten()
            if convention.uses_gram:
                return losses.sum()
            units = current.units
            column = torch.as_tensor(convention.column(units)).to(losses)
            total: Tensor = column[torch.from_numpy(units.data)] @ losses
            if units.regulariser:
                total = total + column[-1] * current.regulariser()
            return total

    return backward


def distance(reference: Sequence[Tensor], other: Iterator[Tensor] | Sequence[Tensor]) -> float:
    """The largest `‖w_b − w_a‖ / ‖w_a‖` over the steps; infinite once a side is no longer finite."""
    return max(distances(reference, other), default=0.0)


def distances(reference: Sequence[Tensor], other: Iterator[Tensor] | Sequence[Tensor]) -> tuple[float, ...]:
    """`[steps]` the same step by step."""
    found = []
    for a, b in zip(reference, other, strict=True):
        found.append((b - a).norm() / a.norm().clamp(min=torch.finfo(a.dtype).tiny))
    fetched = torch.stack(found).tolist() if found else []  # one wait for the device
    return tuple(relative if relative == relative else float("inf") for relative in fetched)


def trajectory(
    model: nn.Module,
    backward: Backward,
    optimizer: str | type,
    hyperparameters: Mapping[str, Any],
    *,
    steps: int,
    max_norm: float | None = None,
    clip: Clip = "norm",
    schedule: Sequence[Phase] = (),
) -> Iterator[Tensor]:
    """`[params]` the weights after each step of a copy of `model`."""
    trained = Training(model, backward, optimizer, hyperparameters, max_norm=max_norm, clip=clip)
    for step in range(steps):
        for phase in schedule:
            if phase.first == step + 1:
                trained.set(phase.hyperparameters)
        yield trained.step(step)


class Training:
    """A copy of a model with its optimizer, trained step by step."""

    def __init__(
        self,
        model: nn.Module,
        backward: Backward,
        optimizer: str | type,
        hyperparameters: Mapping[str, Any],
        *,
        max_norm: float | None = None,
        clip: Clip = "norm",
    ) -> None:
        self.model = copy.deepcopy(model)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        made = optimizer_class(optimizer)
        try:
            self.optimizer = made(self.parameters, **hyperparameters)
        except (TypeError, ValueError, RuntimeError) as error:  # torch's own ranges
            raise UsageError(f"torch does not accept this: {one_line(error)}") from None
        train = getattr(self.optimizer, "train", None)
        if train is not None:  # schedule-free ones want to be told
            train()
        self._backward = backward
        self._max_norm = max_norm
        self._clip = clip
        self._calls_closure = False

    def set(self, hyperparameters: Mapping[str, Any]) -> None:
        """Let the next steps have other hyperparameters."""
        for group in self.optimizer.param_groups:
            group.update(hyperparameters)

    def step(self, index: int) -> Tensor:
        """`[params]` the weights after one more step, on the batch `index`.

        An optimizer that leaves its closure alone finds the gradient where a training loop leaves it.
        """
        calls: list[None] = []

        def closure() -> Any:  # torch's annotation says float, its LBFGS takes a tensor
            calls.append(None)
            self.optimizer.zero_grad()
            with torch.enable_grad():  # some call it without
                loss = self._backward(self.model, index)
            if self._max_norm is not None:
                clip_gradient(self.parameters, self._max_norm, self._clip)
            return loss

        if not self._calls_closure:
            closure()
            calls.clear()
        if inspect.signature(self.optimizer.step).parameters:
            self.optimizer.step(closure)
        else:
            self.optimizer.step()
        self._calls_closure = bool(calls)
        return torch.cat([p.detach().flatten() for p in self.parameters])


def clip_gradient(parameters: Sequence[nn.Parameter], max_norm: float, clip: Clip) -> None:
    """Clip the `.grad` of the parameters in the way that `clip` names."""
    if clip == "value":
        nn.utils.clip_grad_value_(parameters, max_norm)
    elif clip == "tensor":
        for parameter in parameters:
            nn.utils.clip_grad_norm_(parameter, max_norm)
    elif clip in ("norm", "group"):  # `Training` has one group
        nn.utils.clip_grad_norm_(parameters, max_norm)
    else:
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        if norm > max_norm:
            for gradient in gradients:
                gradient.mul_(max_norm / norm)


def optimizer_class(optimizer: str | type) -> Callable[..., torch.optim.Optimizer]:
    """The class of an optimizer that has a law.

    Raises:
        UsageError: The installed torch has no such optimizer.
    """
    if isinstance(optimizer, type):
        return optimizer
    rule = law(optimizer)
    cls = rule.cls or (_of_package(rule) if rule.home else getattr(torch.optim, optimizer, None))
    if cls is None:
        raise UsageError(f"torch {torch.__version__} has no optimizer {optimizer}: update torch")
    return cls


def _of_package(rule: Law) -> Callable[..., torch.optim.Optimizer]:
    package, _, name = rule.home.rpartition(".")
    try:
        found: Callable[..., torch.optim.Optimizer] = getattr(import_module(package), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"{rule.name} cannot be trained here, {one_line(error)}: install {rule.install}"
        ) from None
    return found
