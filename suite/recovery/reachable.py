"""What a training step can reach, and so can change: objects with the names that they go by.

Functions reach the globals that they name, their closure, their defaults and the object that they are bound
to; objects reach their attributes, containers their items. Libraries are not searched: what they keep for
themselves is theirs.
"""

from __future__ import annotations

import functools
import sys
import sysconfig
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from torch import Generator, Tensor
from torch.nn import Module

MOST_REACHED = 100_000  # objects; a list of a million numbers is one of them
PLAIN = (type(None), bool, int, float, complex, str, bytes, range, slice)
HELD = (types.SimpleNamespace, deque)  # of the standard library, and yet somebody's own state
LEFT_ALONE = (
    "suite", "numpy", "pandas", "_pytest", "pytest", "hypothesis", "builtins",
    "tqdm", "tensorboard", "wandb", "mlflow", "rich", "loguru", "matplotlib",
)  # fmt: skip
"""Packages whose objects are no part of a step's computation, whatever they count or write."""
INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def reachable(roots: Mapping[str, object]) -> Iterator[tuple[str, Any]]:
    """Each object that the `roots` reach, once, with the name by which it is reached first."""
    seen: dict[int, object] = {}  # which also keeps them alive, and so their ids
    queue = deque(roots.items())
    while queue and len(seen) < MOST_REACHED:
        name, value = queue.popleft()
        if isinstance(value, PLAIN) or id(value) in seen:
            continue
        seen[id(value)] = value
        yield name, value
        queue.extend(_from(name, value))


def _from(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    for kinds, look in LOOKS:
        if isinstance(value, kinds):
            yield from look(name, value)
            break
    if has_attributes(value):
        yield from ((f"{name}.{key}", part) for key, part in list(vars(value).items()))
    if not isinstance(value, type) and is_own(type(value)):
        yield type(value).__name__, type(value)


def has_attributes(value: Any) -> bool:
    """Whether this is an object with attributes of its own, and somebody's own state."""
    if isinstance(value, type | types.ModuleType | types.FunctionType | types.MethodType | np.ndarray):
        return False
    if isinstance(value, Tensor | Generator) or not isinstance(getattr(value, "__dict__", None), dict):
        return False
    module = type(value).__module__
    if module.startswith("torch._") and not isinstance(value, Module):
        return False  # the compiler's own
    top = module.partition(".")[0]
    return isinstance(value, HELD) or not (top in LEFT_ALONE or top in sys.stdlib_module_names)


def is_own(value: Any) -> bool:
    """Whether a function or a class was written by the user, and is part of no library."""
    name = value.__module__ or ""
    if name.partition(".")[0] in LEFT_ALONE:
        return False
    code = getattr(value, "__code__", None)
    file = code.co_filename if code is not None else getattr(sys.modules.get(name), "__file__", None)
    return not _is_installed(file or "")


def _is_installed(file: str) -> bool:
    return file.startswith(INSTALLED) or "site-packages" in file


def names_of(function: types.FunctionType) -> set[str]:
    """The names that the code of a function looks up outside itself, attributes among them."""
    found: set[str] = set()
    queue = [function.__code__]
    while queue:
        code = queue.pop()
        found |= set(code.co_names)
        queue += [part for part in code.co_consts if isinstance(part, types.CodeType)]
    return found


def cells_of(function: types.FunctionType) -> Iterator[tuple[str, types.CellType]]:
    """The variables of enclosing functions that a function uses."""
    yield from zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)


def _of_function(name: str, function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for variable, cell in cells_of(function):
        try:
            yield variable, cell.cell_contents
        except ValueError:  # nothing is in it yet
            continue
    for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield f"a default of {function.__name__}", value
    yield from ((f"{name}.{key}", value) for key, value in vars(function).items())
    if not is_own(function):
        return
    names = names_of(function)
    for key in names & function.__globals__.keys():
        value = function.__globals__[key]
        if not isinstance(value, types.ModuleType):
            yield key, value
        elif _is_own_module(value):
            yield from ((f"{key}.{n}", vars(value)[n]) for n in names & vars(value).keys())


def _of_method(name: str, method: types.MethodType) -> Iterator[tuple[str, Any]]:
    yield from ((name, method.__func__), (name, method.__self__))


def _of_partial(name: str, partial: functools.partial[Any]) -> Iterator[tuple[str, Any]]:
    yield from ((name, part) for part in (partial.func, *partial.args, *partial.keywords.values()))


def _of_mapping(name: str, mapping: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    yield from ((f"{name}.{key}", part) for key, part in list(mapping.items()))


def _of_items(name: str, items: Any) -> Iterator[tuple[str, Any]]:
    if not all(isinstance(part, PLAIN) for part in items):
        yield from ((f"{name}[{place}]", part) for place, part in enumerate(list(items)))


def _of_tensor(name: str, tensor: Tensor) -> Iterator[tuple[str, Any]]:
    if tensor.is_leaf and tensor.grad is not None:
        yield f"{name}.grad", tensor.grad


def own_modules(function: types.FunctionType) -> Iterator[types.ModuleType]:
    """The modules of the user that a function names."""
    for key in names_of(function) & function.__globals__.keys():
        value = function.__globals__[key]
        if isinstance(value, types.ModuleType) and _is_own_module(value):
            yield value


def _is_own_module(module: types.ModuleType) -> bool:
    file = getattr(module, "__file__", None) or ""
    return bool(file) and not _is_installed(file) and module.__name__.partition(".")[0] not in LEFT_ALONE


def _of_class(_: str, kind: type) -> Iterator[tuple[str, Any]]:
    if not is_own(kind):
        return
    for key, value in list(vars(kind).items()):
        if isinstance(value, staticmethod | classmethod):
            yield f"{kind.__name__}.{key}", value.__func__
        elif isinstance(value, property):
            yield from (
                (f"{kind.__name__}.{key}", part) for part in (value.fget, value.fset) if part is not None
            )
        elif not key.startswith("__") or callable(value):
            yield f"{kind.__name__}.{key}", value
    yield from ((base.__name__, base) for base in kind.__bases__ if is_own(base))


LOOKS: tuple[tuple[Any, Callable[[str, Any], Iterator[tuple[str, Any]]]], ...] = (
    (types.FunctionType, _of_function),
    (types.MethodType, _of_method),
    (functools.partial, _of_partial),
    (type, _of_class),
    (dict, _of_mapping),
    (list | tuple | set | frozenset | deque, _of_items),
    (Tensor, _of_tensor),
)
"""Kinds of objects, and what they reach besides their attributes."""
