"""Where the scale varies from batch to batch: the best constant rate, each step's rate, and the state too.

A short last batch, or token means over ragged sequences, multiply the gradient by another factor each
step. No constant hyperparameters follow that. Setting them anew each step is exact for an optimizer
without memory of gradients; one that has such memory must have its state rescaled as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from suite.equivalence.equivalent import equivalent
from suite.equivalence.law import Scale
from suite.equivalence.minimax_scale import minimax_scale
from suite.equivalence.state import rescale_buffers, scaled_buffers
from suite.equivalence.trajectory import Backward, Training, default_dtype_of, distances, trajectory


@dataclass(frozen=True)
class PerStepRates:
    """How near each remedy comes to the reference: the largest `‖w_b − w_a‖ / ‖w_a‖` over all steps.

    Args:
        constant_scale: the constant scale whose hyperparameters come nearest.
        constant: how near these come.
        per_step: the hyperparameters set anew before each step, for its own scale.
        rescaled: the same, and the state buffers rescaled whenever the scale changes.
        constant_by_step: `[steps]` what `constant` is the largest of.
        per_step_by_step: `[steps]` what `per_step` is the largest of.
    """

    constant_scale: float
    constant: float
    per_step: float
    rescaled: float
    constant_by_step: tuple[float, ...] = ()
    per_step_by_step: tuple[float, ...] = ()


def per_step_rates(
    model: nn.Module,
    reference: Backward | Sequence[Tensor],
    other: Backward,
    optimizer: str | type,
    hyperparameters: Mapping[str, Any],
    scales: Sequence[Scale],
) -> PerStepRates:
    """Train under both conventions, `len(scales)` steps, with each remedy.

    Args:
        model: where all sides start; in float64.
        reference: leaves the gradient of the old convention; or `[steps]` the weights that its training
            came to.
        other: leaves that of the new one, `scales[step]` times as large.
        optimizer: a name or a class whose law is known.
        hyperparameters: of the old convention.
        scales: `[steps]` gradient of the new convention / gradient of the old one.

    Raises:
        UsageError: The optimizer has no law, or a scale is impossible.
    """
    with default_dtype_of(model):
        return _with_remedies(model, reference, other, optimizer, dict(hyperparameters), scales)


def _with_remedies(
    model: nn.Module,
    reference: Backward | Sequence[Tensor],
    other: Backward,
    optimizer: str | type,
    given: dict[str, Any],
    scales: Sequence[Scale],
) -> PerStepRates:
    steps = len(scales)
    weights = reference
    if callable(weights):
        weights = list(trajectory(model, weights, optimizer, given, steps=steps))

    def constantly(scale: float) -> tuple[float, ...]:
        new = equivalent(optimizer, given, scale=scale).hyperparameters
        return distances(weights, trajectory(model, other, optimizer, new, steps=steps))

    def step_by_step(*, buffers: bool) -> tuple[tuple[float, ...], Training]:
        training = Training(model, other, optimizer, given)
        path = []
        for step, scale in enumerate(scales):
            if buffers:
                rescale_buffers(training.optimizer, scale if step == 0 else scale / scales[step - 1])
            new = equivalent(optimizer, given, scale=scale, steps_done=step)
            now = new.schedule[0].hyperparameters if new.schedule else new.hyperparameters
            training.set({**given, **now})
            path.append(training.step(step))
        return distances(weights, path), training

    best, constant = minimax_scale(constantly, float(min(scales)), float(max(scales)))
    per_step, trained = step_by_step(buffers=False)
    # The same to the bit where no buffer has to be rescaled.
    rescaled = step_by_step(buffers=True)[0] if scaled_buffers(trained.optimizer) else per_step
    return PerStepRates(
        constant_scale=best,
        constant=max(constant),
        per_step=max(per_step),
        rescaled=max(rescaled),
        constant_by_step=constant,
        per_step_by_step=per_step,
    )
