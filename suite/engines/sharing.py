"""Models that share their numbers with another: to hook, and to differentiate by, as one likes."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from suite.loops.copies import copied

VALUES = (bool, int, float, str, type(None), torch.dtype, torch.device)
COPIED_OTHERWISE = ("__deepcopy__", "__reduce__", "__reduce_ex__", "__getstate__", "__slots__")
OF_A_MODULE = ("_parameters", "_buffers", "_modules")


def sharing(model: nn.Module) -> nn.Module:
    """A model of its own, with parameters of its own, whose numbers are those of `model`."""
    return only(model, frozenset(name for name, _ in model.named_parameters()))


def only(model: nn.Module, names: frozenset[str]) -> nn.Module:
    """The same, to be differentiated by these parameters alone.

    Buffers are copied. So are the parameters that a forward pass overwrites, those of an embedding
    with `max_norm`, and those that the first forward pass makes.

    Raises:
        UsageError: The model cannot be copied.
    """
    written = {id(m.weight) for m in model.modules() if getattr(m, "max_norm", None) and hasattr(m, "weight")}
    memo: dict[int, Any] = {}
    for name, p in model.named_parameters():
        if is_lazy(p):
            continue
        numbers = p.detach().clone() if id(p) in written else p.detach()
        memo[id(p)] = nn.Parameter(numbers, requires_grad=p.requires_grad and name in names)
    _copy_plain(model, memo)
    return copied(model, memo)


def _copy_plain(module: nn.Module, memo: dict[int, Any]) -> bool:
    """Put copies of modules that hold nothing unusual into `memo`; whether `module` is one.

    `copy.deepcopy` looks at every attribute of every layer: for a small model it takes longer than a
    forward pass.
    """
    if id(module) in memo:
        return True
    plain = [_copy_plain(child, memo) for child in module.children()]
    if not all(plain) or not _is_plain(module):
        return False
    twin = type(module).__new__(type(module))
    state: dict[str, Any] = {
        key: value.copy() if isinstance(value, dict | set) else value for key, value in vars(module).items()
    }
    for buffer in state["_buffers"].values():
        if buffer is not None and id(buffer) not in memo:
            memo[id(buffer)] = buffer.detach().clone()
    for held in OF_A_MODULE:
        state[held] = {key: memo.get(id(value), value) for key, value in state[held].items()}
    vars(twin).update(state)
    memo[id(module)] = twin
    return True


def _is_plain(module: nn.Module) -> bool:
    """Whether its class copies as any object does, and its attributes are numbers, names and layers."""
    kind: Any = type(module)
    return _copies_plainly(kind) and all(
        isinstance(value, VALUES)
        or key in OF_A_MODULE
        or (isinstance(value, dict | set) and not value)
        or _is_tuple_of_values(value)
        for key, value in vars(module).items()
    )


@cache
def _copies_plainly(kind: Any) -> bool:
    usual = kind.__module__.startswith("torch.nn.") or kind.__setstate__ is nn.Module.__setstate__
    classes = [each for each in kind.__mro__ if each not in (nn.Module, object)]
    return bool(usual) and not any(name in vars(each) for each in classes for name in COPIED_OTHERWISE)


def _is_tuple_of_values(value: object) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(one, VALUES) or _is_tuple_of_values(one) for one in value
    )
