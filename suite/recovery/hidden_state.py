"""Whether one call of a step may leave something behind that nobody can put back, or draw from outside.

A step of one's own code and torch's, whose every object is known, computes the same at each call. A call of a
library, an iterator that is used up, the clock or the operating system may make the next one another step:
only a second call tells.
"""

from __future__ import annotations

import functools
import types
from collections import deque
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from suite.recovery.put_back import GENERATORS
from suite.recovery.reachable import has_attributes, is_own, names_of, own_modules

KNOWN = {
    "torch", "numpy", "math", "suite", "gradsuite", "builtins", "functools", "typing", "collections",
    "contextlib", "copy", "dataclasses", "operator", "itertools", "__future__",
}  # fmt: skip
"""Packages whose functions remember nothing from call to call, but random numbers, which are put back."""

OUTSIDE = {
    "default_rng", "SystemRandom", "urandom", "secrets", "uuid", "time", "datetime", "os", "sys", "open",
    "id", "input", "subprocess", "socket", "threading", "exec", "eval", "globals", "__import__",
}  # fmt: skip
"""Names by which code asks for what is not its own."""

NOT_CALLED = ("__init__", "__post_init__", "__repr__", "__str__", "__eq__", "__hash__", "__replace__")
"""Methods that compute nothing of a step: what they made is reached by itself."""

PUT_BACK = (
    Tensor, np.ndarray, dict, list, tuple, set, frozenset, deque, type, types.MethodType, functools.partial,
    nn.Module, Optimizer, LRScheduler, GradScaler, property, staticmethod, classmethod, *GENERATORS,
)  # fmt: skip


IN_C = (
    types.BuiltinFunctionType, types.WrapperDescriptorType, types.MethodDescriptorType,
    types.ClassMethodDescriptorType, types.GetSetDescriptorType, types.MemberDescriptorType,
)  # fmt: skip
"""Functions and attributes of modules and classes that are written in C."""


def may_hide(value: Any) -> bool:
    """Whether an object that a step reaches may hold what cannot be put back."""
    if isinstance(value, types.FunctionType):
        return _function_may(value)
    if isinstance(value, IN_C):
        return _in_c_may(value)
    if isinstance(value, PUT_BACK):
        return False
    top = (getattr(type(value), "__module__", None) or "").partition(".")[0]
    if has_attributes(value) and (is_own(type(value)) or top in KNOWN):
        return False
    return top not in ("suite", "torch") or callable(value)


def _in_c_may(value: Any) -> bool:
    """The functions of an object remember what it does: an iterator's, a generator's of random numbers."""
    owner = getattr(value, "__objclass__", None) or getattr(value, "__self__", None)
    if isinstance(owner, types.ModuleType):
        package = owner.__name__
    elif owner is None or isinstance(owner, type):
        package = getattr(value if owner is None else owner, "__module__", None) or ""
    else:
        return True
    return value.__name__ in OUTSIDE or package.partition(".")[0] not in KNOWN


def _function_may(function: types.FunctionType) -> bool:
    if function.__name__ in NOT_CALLED:
        return False
    if not is_own(function):
        return (function.__module__ or "").partition(".")[0] not in KNOWN
    names = names_of(function)
    if names & OUTSIDE:
        return True
    own = list(own_modules(function))
    used = (function.__globals__[name] for name in names & function.__globals__.keys())
    modules = [value for value in used if isinstance(value, types.ModuleType) and value not in own]
    return any(module.__name__.partition(".")[0] not in KNOWN for module in modules)
