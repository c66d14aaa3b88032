"""The model inside its wrappers, and copies of it at the parameters of an update."""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from suite.errors import UsageError
from suite.recovery.eval_copy import with_own_functions
from suite.watch.seen import full

WRAPPED = ("_orig_mod.", "_checkpoint_wrapped_module.", "_fsdp_wrapped_module.", "module.")


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside DistributedDataParallel, DataParallel and torch.compile."""
    while True:
        if isinstance(model, DistributedDataParallel | DataParallel):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod  # type: ignore[assignment]  # noqa: SLF001
        else:
            return model


def is_sharded(model: nn.Module) -> bool:
    """Whether parameters lie in shards on several ranks."""
    return any(hasattr(p, "full_tensor") for p in model.parameters())


def copy_of(model: nn.Module, factory: Callable[[], nn.Module] | None) -> nn.Module:
    """A copy of the model as it is now; the factory's with its whole parameters, where there is a factory.

    All ranks of a sharded model must ask at the same time.

    Raises:
        UsageError: The model has no copy; it is sharded and there is no factory, or that makes another one.
    """
    if not is_sharded(model) and factory is None:
        return with_own_functions(model)
    state = {
        plain_name(name): full(tensor.detach())
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
    }
    if factory is None:
        raise UsageError(
            "the model's parameters are sharded: give watch(…, factory=) a function that makes the model "
            "whole"
        )
    made = factory()
    own = dict((*made.named_parameters(), *made.named_buffers()))
    missing = sorted(own.keys() ^ state.keys())
    if missing:
        raise UsageError(f"the factory makes another model: only one of the two has {missing[0]}")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(state[name])
    for module, theirs in zip(made.modules(), model.modules(), strict=False):
        module.training = theirs.training
    return made


def trained_only(model: nn.Module, names: Collection[str]) -> nn.Module:
    """The copy with a gradient asked of these parameters alone."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)
    return model


def plain_name(name: str) -> str:
    """A parameter's name without those of wrappers."""
    for wrapper in WRAPPED[:3]:
        name = name.replace(wrapper, "")
    return name
