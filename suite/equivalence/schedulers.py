"""The rates that learning-rate schedulers hold, which go on from where they were when the rate is another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer, lr_scheduler, swa_utils

from suite.errors import UsageError

IN_GROUPS = ("initial_lr", "max_lr", "min_lr", "swa_lr")
"""Rates that schedulers leave in a parameter group."""

BY_GROUP = ("base_lrs", "_last_lr", "max_lrs", "min_lrs")
"""Rates that schedulers hold themselves, one for each parameter group."""

FOR_ALL: Mapping[type, tuple[str, ...]] = {
    lr_scheduler.LambdaLR: (),
    lr_scheduler.MultiplicativeLR: (),
    lr_scheduler.StepLR: (),
    lr_scheduler.MultiStepLR: (),
    lr_scheduler.ConstantLR: (),
    lr_scheduler.LinearLR: (),
    lr_scheduler.ExponentialLR: (),
    lr_scheduler.PolynomialLR: (),
    lr_scheduler.CosineAnnealingLR: ("eta_min",),
    lr_scheduler.CosineAnnealingWarmRestarts: ("eta_min",),
    lr_scheduler.CyclicLR: (),
    lr_scheduler.OneCycleLR: (),
    lr_scheduler.ReduceLROnPlateau: ("default_min_lr", "eps"),
    lr_scheduler.SequentialLR: (),
    lr_scheduler.ChainedScheduler: (),
    swa_utils.SWALR: (),
}
"""The schedulers of which it is known what they hold, with the rates that they hold for all groups."""

Rate = Callable[[int, float], float]
"""Of a parameter group, what its rate becomes."""

Writing = tuple[Any, Any, Any]
"""Where, under which key or name, what."""


def check(schedulers: Iterable[object], optimizer: Optimizer) -> list[Any]:
    """All schedulers, those within others too.

    Raises:
        UsageError: One of them is no scheduler of torch, or another optimizer's.
    """
    found: list[Any] = []
    for scheduler in schedulers:
        name = type(scheduler).__name__
        if type(scheduler) not in FOR_ALL:
            raise UsageError(
                f"it is not known which attributes of {name} are rates: make that scheduler anew after the "
                f"conversion; known are {', '.join(known.__name__ for known in FOR_ALL)}"
            )
        if getattr(scheduler, "optimizer", None) is not optimizer:
            raise UsageError(f"this {name} is the scheduler of another optimizer")
        found += [scheduler, *check(getattr(scheduler, "_schedulers", ()), optimizer)]
    return found


def converted(schedulers: Iterable[Any], optimizer: Optimizer, rate: Rate) -> Iterator[Writing]:
    """What is to be written where, for each rate of the `schedulers` and those in parameter groups."""
    for index, group in enumerate(optimizer.param_groups):
        for key in IN_GROUPS:
            if key in group:
                yield group, key, _like(group[key], index, rate)
    for scheduler in schedulers:
        held = vars(scheduler)
        for key in BY_GROUP:
            if key in held:
                yield held, key, [_like(value, index, rate) for index, value in enumerate(held[key])]
        for key in FOR_ALL[type(scheduler)]:
            if held.get(key) is not None:
                yield held, key, _like(held[key], 0, rate)


def _like(value: Any, index: int, rate: Rate) -> Any:
    number = value.item() if isinstance(value, Tensor) else value
    new = rate(index, number) if number else number
    return value.new_full((), new).view_as(value) if isinstance(value, Tensor) else new
