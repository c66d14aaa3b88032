"""Switching conventions in mid-training: a running optimizer's buffers and hyperparameters rescaled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from suite.equivalence.equivalent import Equivalence, equivalent
from suite.equivalence.law import Law, Scale, check_scale
from suite.equivalence.laws import law
from suite.equivalence.scales import Scaling
from suite.equivalence.schedulers import check, converted
from suite.errors import UsageError


@dataclass(frozen=True)
class Conversion:
    """What `convert_state` did.

    Args:
        optimizer: the name of its class.
        scale: gradient of the new convention / gradient of the old one.
        exact: whether training goes on the same trajectory, up to rounding (none for a power of two).
        reason: why so, or why not.
        groups: the equivalence of each parameter group's hyperparameters.
    """

    optimizer: str
    scale: Scale
    exact: bool
    reason: str
    groups: tuple[Equivalence, ...]


def convert_state(
    optimizer: torch.optim.Optimizer, scale: Scale | str | Scaling, *, schedulers: Iterable[object] = ()
) -> Conversion:
    """Rescale `optimizer`, in place, for gradients that are `scale` times as large from now on.

    Each state buffer is multiplied by `scale**exponent`, and so are the hyperparameters of each parameter
    group and all rates that its schedulers hold. A scheduler that is not given here goes on with the old
    rates: give it, or make it anew. Nothing changes if this raises.

    Args:
        optimizer: of a class whose law is known.
        scale: gradient of the new convention / gradient of the old one, or what `scale_between` gives.
        schedulers: of `torch.optim.lr_scheduler`, that change the rates of this optimizer.

    Returns:
        Whether the trajectory is the same, why, and the hyperparameters of each group.

    Raises:
        UsageError: The optimizer has no law, its state holds a buffer that the law does not name, it is
            in first steps that follow another law, the scale is impossible, or a scheduler is not one of
            torch's or not this optimizer's.

    Examples:
        >>> import torch, gradsuite
        >>> weight = torch.nn.Parameter(torch.ones(3))
        >>> optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
        >>> weight.sum().backward()
        >>> optimizer.step()
        >>> done = gradsuite.convert_state(optimizer, 1 / 32)  # from now on the mean over 32 samples
        >>> optimizer.param_groups[0]["lr"], optimizer.state[weight]["momentum_buffer"].tolist()
        (3.2, [0.03125, 0.03125, 0.03125])
    """
    found, scale = law(type(optimizer)), check_scale(scale)
    _check_state(found, optimizer)
    scheduling = check(schedulers, optimizer)
    equivalences = tuple(_group(found, optimizer, group, scale) for group in optimizer.param_groups)

    def rate(index: int, before: float) -> float:
        given = equivalences[index].given | {"lr": before}
        after = equivalent(type(optimizer), given, scale=scale, steps_done=_NOW)
        return float(after.hyperparameters["lr"])

    rates = list(converted(scheduling, optimizer, rate))
    rescale_buffers(optimizer, scale)
    for where, name, value in rates:
        where[name] = value
    for group, new in zip(optimizer.param_groups, equivalences, strict=True):
        for name, value in new.hyperparameters.items():
            _write(group, name, value)
    reasons = dict.fromkeys(new.reason for new in equivalences if not new.exact)
    return Conversion(
        optimizer=found.name,
        scale=scale,
        exact=not reasons,
        reason="; ".join(reasons) or equivalences[0].reason,
        groups=equivalences,
    )


_NOW = 2**62  # past all first steps


@torch.no_grad()
def rescale_buffers(optimizer: torch.optim.Optimizer, scale: Scale) -> None:
    """Multiply each state buffer by `scale**exponent`, in place; hyperparameters stay.

    Raises:
        UsageError: The optimizer has no law, or a buffer that the law does not name.
    """
    found = law(type(optimizer))
    _check_state(found, optimizer)
    for state in optimizer.state.values():
        for name, value in state.items():
            exponent = found.state[name]
            if exponent:
                state[name] = _times(value, float(scale) ** exponent)


def scaled_buffers(optimizer: torch.optim.Optimizer) -> set[str]:
    """The names of the state buffers that go with the gradient.

    Raises:
        UsageError: The optimizer has no law, or a buffer that the law does not name.
    """
    found = law(type(optimizer))
    _check_state(found, optimizer)
    return {
        name
        for state in optimizer.state.values()
        for name, value in state.items()
        if found.state[name] and value is not None
    }


def _times(value: Any, factor: float) -> Any:
    if isinstance(value, Tensor):
        return value.mul_(factor)
    if isinstance(value, list):
        return [None if v is None else v * factor for v in value]
    return None if value is None else value * factor


def _check_state(found: Law, optimizer: torch.optim.Optimizer) -> None:
    if found.unconverted and optimizer.state:
        raise UsageError(f"a run of {found.name} that is under way is not converted: {found.unconverted}")
    buffers = {name for state in optimizer.state.values() for name in state}
    strange = sorted(buffers - found.state.keys())
    if strange:
        raise UsageError(
            f"the state of {found.name} holds {', '.join(strange)}, of which its law says nothing; "
            f"it knows {', '.join(found.state)}"
        )


def _group(found: Law, optimizer: torch.optim.Optimizer, group: dict[str, Any], scale: Scale) -> Equivalence:
    given = {name: _plain(group[name]) for name in found.hyperparameters if name in group}
    if found.name == "Adafactor" and given["eps"][0] is None and scale != 1:
        # As torch does: the first parameter's dtype counts for the whole group.
        given["eps"] = (torch.finfo(group["params"][0].dtype).eps, given["eps"][1])
    steps = [int(optimizer.state[p].get("step", 0)) for p in group["params"] if p in optimizer.state]
    new = equivalent(type(optimizer), given, scale=scale, steps_done=min(steps, default=0))
    if new.schedule:
        raise UsageError(
            f"{found.name} has taken {min(steps, default=0)} steps, and its first {new.schedule[0].last} "
            "follow another law: convert it after those"
        )
    return new


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.item()
    return tuple(map(_plain, value)) if isinstance(value, tuple | list) else value


def _write(group: dict[str, Any], name: str, value: Any) -> None:
    old = group[name]
    group[name] = torch.full_like(old, value) if isinstance(old, Tensor) else value
