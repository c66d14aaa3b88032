"""Copies of models."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from suite.errors import UsageError, one_line

VALUES = (bool, int, float, str, type(None), torch.dtype, torch.device)
COPIED_OTHERWISE = ("__deepcopy__", "__reduce__", "__reduce_ex__", "__getstate__", "__slots__")
OF_A_MODULE = ("_parameters", "_buffers", "_modules")


def copied(model: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """A copy of a model.

    Args:
        model: left as it is.
        memo: receives the copies of all that is in it, by the identity of the original.

    Raises:
        UsageError: It cannot be copied.
    """
    memo = {} if memo is None else memo
    # Weights that a hook makes anew at each call (torch.nn.utils.weight_norm of old) are no leaves.
    made = [v for m in model.modules() for v in vars(m).values() if isinstance(v, Tensor) and not v.is_leaf]
    memo |= {id(tensor): tensor.detach().clone() for tensor in made}
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise UsageError(
            f"the model cannot be copied: {one_line(error)}; keep what has no copy (locks, files, handles) "
            "out of it, or give its class a __deepcopy__"
        ) from error


def copy_plain(module: nn.Module, memo: dict[int, Any]) -> bool:
    """Put copies of modules that hold nothing unusual into `memo`; whether `module` is one.

    `copy.deepcopy` looks at every attribute of every layer: for a small model it takes longer than a
    forward pass.
    """
    if id(module) in memo:
        return True
    plain = [copy_plain(child, memo) for child in module.children()]
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
