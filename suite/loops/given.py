"""What people hand over to be measured: a module and functions, each named where it is something else."""

from __future__ import annotations

import inspect

from torch import nn

from suite.errors import UsageError


def require_model(model: object) -> None:
    """Make sure that it is a module that was made.

    Raises:
        UsageError: It is a class, or something else.
    """
    if isinstance(model, type):
        raise UsageError(f"model is the class {model.__name__}: give a model, {model.__name__}(…)")
    if not isinstance(model, nn.Module):
        raise UsageError(f"model is {described(model)}: it must be a torch.nn.Module")


def require_function(name: str, value: object, calls: str = "(model, batch)") -> None:
    """Make sure that it can be called.

    Args:
        name: as people know it.
        value: what was given.
        calls: with what it is called.

    Raises:
        UsageError: It is no function, one of torch's own losses, or waits for something (`async def`).
    """
    if not callable(value):
        raise UsageError(f"{name} is {described(value)}: it must be a function, {name}{calls}")
    if isinstance(value, nn.Module) and type(value).__module__.startswith("torch.nn."):
        own = type(value).__name__
        raise UsageError(
            f"{name} is torch.nn.{own}: it must be a function of the model and the batch, such as "
            f"lambda model, batch: {own}(reduction='none')(model(batch[0]), batch[1])"
        )
    if inspect.iscoroutinefunction(value):
        raise UsageError(f"{name} is an async function: give one that runs by itself (asyncio.run)")


def described(value: object) -> str:
    """What something is, for a message.

    >>> described([]), described(3), described(None)
    ('a list', 'an int', 'None')
    """
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
