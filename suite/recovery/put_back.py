"""How each kind of object is put back: what it held is remembered, and given back where it has changed."""

from __future__ import annotations

import random
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn.parameter import is_lazy

from suite.machine.buffers import duplicated
from suite.recovery.reachable import PLAIN, cells_of, has_attributes, is_own, names_of, own_modules

ABSENT = object()
BY_ITSELF = "="  # begins what has a name of its own, whoever uses it
GENERATORS = (Generator, np.random.Generator, np.random.RandomState, random.Random)


@dataclass(frozen=True)
class PutBackChange:
    """Something that had to be put back.

    Args:
        name: of it within its object, `""` for the object itself.
        redo: changes it again, where it is a plain value: a counter, a switch.
    """

    name: str
    redo: Callable[[], object] | None = None


PutBack = Callable[[], list[PutBackChange]]
"""Puts one object back, and says what of it had changed."""


def keepers(value: Any) -> Iterator[PutBack]:
    """What puts an object back, as it is now; nothing for what cannot change, or draws numbers."""
    if isinstance(value, Tensor):
        yield from _tensor(value)
    elif isinstance(value, np.ndarray):
        yield _array(value)
    elif isinstance(value, dict):
        yield _mapping(value, value)
    elif isinstance(value, list | deque | set):
        yield _items(value)
    elif isinstance(value, types.FunctionType):
        yield from _function(value)
    elif isinstance(value, type) and is_own(value):
        yield _class(value)
    if has_attributes(value):
        yield _mapping(vars(value), value)


def rewinder(value: Any) -> Callable[[int | None], None]:
    """Puts a generator back, or seeds it."""
    if isinstance(value, Generator):
        state: Any = value.get_state()
        return lambda seed: value.set_state(state) if seed is None else value.manual_seed(seed)  # type: ignore[return-value]
    if isinstance(value, np.random.Generator):
        bits: Any = value.bit_generator
        state = bits.state
        other = type(bits)

        def restore(seed: int | None) -> None:
            bits.state = state if seed is None else other(seed).state

        return restore
    if isinstance(value, random.Random):
        state = value.getstate()
        return lambda seed: value.setstate(state) if seed is None else value.seed(seed)
    state = value.get_state()
    return lambda seed: value.set_state(state) if seed is None else value.seed(seed)


def _tensor(tensor: Tensor) -> Iterator[PutBack]:
    if tensor.is_meta or is_lazy(tensor):
        return  # it has no numbers
    content = duplicated(tensor)
    wanted, leaf, grad = tensor.requires_grad, tensor.is_leaf, tensor.grad if tensor.is_leaf else None
    hooks = tensor._backward_hooks  # noqa: SLF001  a hook that is added at each call would be there twice
    known = None if hooks is None else dict(hooks)

    def restore() -> list[PutBackChange]:
        changed = [] if same(tensor, content) else [PutBackChange("")]
        if changed:
            with torch.no_grad():
                _refill(tensor, content)
        if leaf and tensor.is_leaf:
            if tensor.requires_grad is not wanted:
                tensor.requires_grad_(wanted)
            if tensor.grad is not grad:
                tensor.grad = grad
        now = tensor._backward_hooks  # noqa: SLF001  see above
        if now is not None and dict(now) != (known or {}):
            now.clear()
            now.update(known or {})
        return changed

    yield restore


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same numbers in the same form, nan where nan is."""
    a = a.detach()
    if (a.shape, a.dtype, a.device, a.layout) != (b.shape, b.dtype, b.device, b.layout):
        return False
    if a.layout != torch.strided or torch.equal(a, b):
        return a.layout == torch.strided or torch.equal(a.to_dense(), b.to_dense())
    return bool(((a == b) | ((a != a) & (b != b))).all())


def _refill(tensor: Tensor, content: Tensor) -> None:
    if (tensor.shape, tensor.dtype, tensor.device) == (content.shape, content.dtype, content.device):
        tensor.detach().copy_(content)
    else:  # a step may well have moved or cast it, `p.data = p.data.half()`
        tensor.data = content.clone()


def _array(array: np.ndarray[Any, Any]) -> PutBack:
    content = array.copy()

    def restore() -> list[PutBackChange]:
        if array.shape == content.shape and array.tobytes() == content.tobytes():
            return []
        if array.flags.writeable:
            array[...] = content
        return [PutBackChange("")]

    return restore


def _equal(a: object, b: object) -> bool:
    return a is b or (type(a) is type(b) and isinstance(a, PLAIN) and a == b)


def _mapping(mapping: dict[Any, Any], owner: object) -> PutBack:
    content = dict(mapping)
    expected = {"training"} if isinstance(owner, nn.Module) else set()

    def restore() -> list[PutBackChange]:
        keys = [k for k, v in content.items() if k not in mapping or not _equal(mapping[k], v)]
        keys += [k for k in mapping if k not in content]
        changes = [PutBackChange(f".{k}", _again(mapping, k)) for k in keys if k not in expected]
        if keys or list(mapping) != list(content):
            mapping.clear()
            mapping.update(content)
        return changes

    return restore


def _again(mapping: dict[Any, Any], key: Any) -> Callable[[], object] | None:
    """What gives `mapping[key]` its present value again, if that is a plain one."""
    now = mapping.get(key, ABSENT)
    return partial(mapping.__setitem__, key, now) if isinstance(now, PLAIN) else None


def _items_again(value: Any, items: list[Any]) -> Callable[[], object]:
    def redo() -> None:
        value.clear()
        (value.update if isinstance(value, set) else value.extend)(items)

    return redo


def _items(value: Any) -> PutBack:
    content = list(value)

    def restore() -> list[PutBackChange]:
        now = list(value)
        if len(now) == len(content) and all(map(_equal, now, content)):
            return []
        value.clear()
        (value.update if isinstance(value, set) else value.extend)(content)
        return [
            PutBackChange("", _items_again(value, now) if all(isinstance(v, PLAIN) for v in now) else None)
        ]

    return restore


def _function(function: types.FunctionType) -> Iterator[PutBack]:
    if vars(function) or is_own(function):
        yield _mapping(vars(function), function)
    for variable, cell in cells_of(function):
        yield _cell(variable, cell)
    if is_own(function):
        names = names_of(function)
        yield _named(function.__globals__, names)
        for module in own_modules(function):
            yield _named(vars(module), names)


def _cell(variable: str, cell: types.CellType) -> PutBack:
    def read() -> object:
        try:
            return cell.cell_contents
        except ValueError:
            return ABSENT

    content = read()

    def restore() -> list[PutBackChange]:
        now = read()
        if _equal(now, content):
            return []
        redo = partial(setattr, cell, "cell_contents", now) if isinstance(now, PLAIN) else None
        if content is ABSENT:
            del cell.cell_contents
        else:
            cell.cell_contents = content
        return [PutBackChange(f"{BY_ITSELF}{variable}", redo)]

    return restore


def _named(where: dict[str, Any], names: set[str]) -> PutBack:
    """Globals by their names: others of the same module are not this function's."""
    content = {name: where.get(name, ABSENT) for name in names}

    def restore() -> list[PutBackChange]:
        changed = [name for name, value in content.items() if not _equal(where.get(name, ABSENT), value)]
        changes = [PutBackChange(f"{BY_ITSELF}{name}", _again(where, name)) for name in changed]
        for name in changed:
            if content[name] is ABSENT:
                del where[name]
            else:
                where[name] = content[name]
        return changes

    return restore


def _class(kind: type) -> PutBack:
    def data() -> Mapping[str, Any]:
        return {k: v for k, v in vars(kind).items() if not k.startswith("__")}

    content = dict(data())

    def restore() -> list[PutBackChange]:
        now = data()
        changed = [k for k, v in content.items() if not _equal(now.get(k, ABSENT), v)]
        new = [k for k in now if k not in content]
        for key in changed:
            setattr(kind, key, content[key])
        for key in new:
            delattr(kind, key)
        plain = {k: v for k, v in now.items() if isinstance(v, PLAIN)}
        return [
            PutBackChange(f".{key}", partial(setattr, kind, key, plain[key]) if key in plain else None)
            for key in (*changed, *new)
        ]

    return restore
