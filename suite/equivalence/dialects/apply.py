"""Following a translation in a training loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.equivalence.dialects.translation import PARAM, Translation
from suite.errors import UsageError

if TYPE_CHECKING:
    import torch

# The state that an optimizer makes on its first step: it must find all of it if one buffer is to
# start with something else. A buffer may depend on an option.
STATES: dict[str, dict[str, str]] = {
    "RMSprop": {"square_avg": "", "momentum_buffer": "momentum", "grad_avg": "centered"},
}


def prepare(optimizer: torch.optim.Optimizer, translation: Translation, step: int) -> None:
    """Do what `translation` asks for before `optimizer.step()`, with the gradients already there.

    Sets the scheduled hyperparameters, fills the initial state before the first step, and multiplies state
    buffers and weights by their factors. A parameter group that began with a share of a scheduled value,
    or with 0, as biases without decay do, keeps that share.

    Args:
        optimizer: built from `translation.hyperparameters`.
        translation: what `translate` gave.
        step: counted from 1.

    Raises:
        UsageError: The optimizer is of another class, or has stepped before its first state is set.
    """
    import torch

    if type(optimizer).__name__ != translation.optimizer:
        raise UsageError(
            f"the translation is for {translation.optimizer}, not for {type(optimizer).__name__}"
        )
    for group in optimizer.param_groups:
        for name, schedule in translation.schedule.items():
            base = translation.hyperparameters[name]
            own = group.setdefault("untranslated", {}).setdefault(name, group[name])
            group[name] = schedule(step) * (own / base) if base else schedule(step)
    if step == 1 and translation.initial_state:
        _fill(optimizer, translation)
    with torch.no_grad():
        for name, factor in translation.factors.items():
            for parameter in _parameters(optimizer):
                target = parameter if name == PARAM else optimizer.state[parameter].get(name)
                if target is not None:  # a buffer is made by its first step
                    target.mul_(factor(step))


def _fill(optimizer: torch.optim.Optimizer, translation: Translation) -> None:
    """Make the optimizer's state with the initial values of the translation."""
    import torch

    buffers = STATES[translation.optimizer]
    if optimizer.state:
        raise UsageError("the optimizer has stepped already; its initial state cannot be set any more")
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state[parameter]
            state["step"] = torch.zeros((), dtype=torch.float32)
            for name, option in buffers.items():
                if not option or group[option]:
                    value = translation.initial_state.get(name, 0.0)
                    state[name] = torch.full_like(parameter, value, requires_grad=False)


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
