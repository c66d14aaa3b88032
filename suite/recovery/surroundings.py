"""The surroundings of a step: all that it can reach, put back after each run, and told where that was needed.

A teacher that follows the model, a counter, a `forward` that the step wraps, a scheduler, a batch that is
changed in place: whatever one run leaves behind, the next one would find, and be another step.
"""

from __future__ import annotations

import random
import re
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.amp import GradScaler
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from suite.machine import global_state, memory
from suite.recovery.reachable import (
    PLAIN,
    cells_of,
    has_attributes,
    is_own,
    names_of,
    own_modules,
    reachable,
)

EXPECTED = (Optimizer, LRScheduler, GradScaler)
INTERNAL = ("._parameters", "._buffers", "._modules")
VARIABLE = "="  # begins what has a name of its own, whoever uses it
PutBack = Callable[[], list[str]]
"""Puts one object back, and says what of it had changed (`""` is the object itself)."""


class Surroundings:
    """The state of all that some functions and objects can reach, as it was when this was made."""

    def __init__(self, model: nn.Module, **others: object) -> None:
        """Remember the state of what `model` and the `others`, which have names, can reach."""
        self.told: dict[str, None] = {}
        """What had to be put back so far beyond the model's numbers, modes and optimizers, in order."""
        self._saved: list[tuple[str, PutBack]] = []
        self._generators: list[Any] = []
        self._states = _random_states()
        self._room = memory.free_bytes(torch.device("cpu")) // 4
        tensors = {id(t) for t in (*model.parameters(), *model.buffers())}
        self._silent = {id(p.grad) for p in model.parameters()} | tensors
        for name, value in reachable({"model": model, **others}):
            self._save(name, value)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Whatever happens inside, everything is as before afterwards, random numbers too."""
        try:
            with global_state.preserved(global_state.COMPUTATION):
                yield
        finally:
            self.put_back()

    def rewind(self, seed: int | None = None) -> None:
        """Random numbers as they were at first, or all of them from a `seed`."""
        if seed is None:
            for write, state in self._states:
                write(state)
            for restore in self._generators:
                restore(None)
        else:
            global_state.seed(seed)
            for restore in self._generators:
                restore(seed)

    def put_back(self) -> None:
        """Put everything back, and note what had changed."""
        for restore in self._generators:
            restore(None)
        for name, restore in self._saved:
            for what in restore():
                shown = what[1:] if what.startswith(VARIABLE) else f"{name}{what}"
                for internal in INTERNAL:
                    shown = shown.replace(internal, "")
                self.told.setdefault(shown)

    @property
    def changes(self) -> tuple[str, ...]:
        """What had to be put back so far, by name; many parts of one thing are that thing."""
        parts: dict[str, list[str]] = {}
        for name in self.told:
            parts.setdefault(re.split(r"[.\[]", name, maxsplit=1)[0], []).append(name)
        return tuple(
            names[0] if len(names) == 1 else f"{whole} (in {len(names)} places)"
            for whole, names in parts.items()
        )

    def _save(self, name: str, value: Any) -> None:
        quiet = id(value) in self._silent or isinstance(value, EXPECTED)
        for restore in self._keepers(value):
            self._saved.append((name, _quiet(restore) if quiet else restore))
        if isinstance(value, EXPECTED):  # so is what they hold
            self._silent |= {id(part) for _, part in reachable({"": value})}

    def _keepers(self, value: Any) -> Iterator[PutBack]:
        if isinstance(value, Tensor):
            yield from self._of_tensor(value)
        elif isinstance(value, Generator | np.random.Generator | np.random.RandomState | random.Random):
            self._generators.append(_generator(value))
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

    def _of_tensor(self, tensor: Tensor) -> Iterator[PutBack]:
        size = tensor.numel() * tensor.itemsize if tensor.layout == torch.strided else 0
        if id(tensor) not in self._silent:
            if size > self._room:
                return
            self._room -= size
        yield from _tensor(tensor)


def _quiet(restore: PutBack) -> PutBack:
    def silent() -> list[str]:
        restore()
        return []

    return silent


def _random_states() -> list[tuple[Callable[[Any], object], Any]]:
    states: list[tuple[Callable[[Any], object], Any]] = [
        (torch.set_rng_state, torch.get_rng_state()),
        (random.setstate, random.getstate()),
        (np.random.set_state, np.random.get_state()),  # noqa: NPY002  steps draw from it
    ]
    if torch.cuda.is_initialized():  # uncovered: needs a CUDA device
        states.append((torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    return states


def _generator(value: Any) -> Callable[[int | None], None]:
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
    content = tensor.detach().clone()
    wanted, leaf, grad = tensor.requires_grad, tensor.is_leaf, tensor.grad if tensor.is_leaf else None
    hooks = tensor._backward_hooks  # noqa: SLF001  a hook that is added at each call would be there twice
    known = None if hooks is None else dict(hooks)

    def restore() -> list[str]:
        changed = [] if same(tensor, content) else [""]
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

    def restore() -> list[str]:
        same = array.shape == content.shape and array.tobytes() == content.tobytes()
        if not same and array.flags.writeable:
            array[...] = content
        return [] if same else [""]

    return restore


def _equal(a: object, b: object) -> bool:
    return a is b or (type(a) is type(b) and isinstance(a, PLAIN) and a == b)


def _mapping(mapping: dict[Any, Any], owner: object) -> PutBack:
    content = dict(mapping)
    expected = {"training"} if isinstance(owner, nn.Module) else set()

    def restore() -> list[str]:
        keys = [k for k, v in content.items() if k not in mapping or not _equal(mapping[k], v)]
        keys += [k for k in mapping if k not in content]
        if keys or list(mapping) != list(content):
            mapping.clear()
            mapping.update(content)
        return [f".{key}" for key in keys if key not in expected]

    return restore


def _items(value: Any) -> PutBack:
    content = list(value)

    def restore() -> list[str]:
        now = list(value)
        if len(now) == len(content) and all(map(_equal, now, content)):
            return []
        value.clear()
        (value.update if isinstance(value, set) else value.extend)(content)
        return [""]

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


MISSING = object()


def _cell(variable: str, cell: types.CellType) -> PutBack:
    def read() -> object:
        try:
            return cell.cell_contents
        except ValueError:
            return MISSING

    content = read()

    def restore() -> list[str]:
        if _equal(read(), content):
            return []
        if content is MISSING:
            del cell.cell_contents
        else:
            cell.cell_contents = content
        return [f"{VARIABLE}{variable}"]

    return restore


def _named(where: dict[str, Any], names: set[str]) -> PutBack:
    """Globals by their names: others of the same module are not this function's."""
    content = {name: where.get(name, MISSING) for name in names}

    def restore() -> list[str]:
        changed = [name for name, value in content.items() if not _equal(where.get(name, MISSING), value)]
        for name in changed:
            if content[name] is MISSING:
                del where[name]
            else:
                where[name] = content[name]
        return [f"{VARIABLE}{name}" for name in changed]

    return restore


def _class(kind: type) -> PutBack:
    def data() -> Mapping[str, Any]:
        return {k: v for k, v in vars(kind).items() if not k.startswith("__")}

    content = dict(data())

    def restore() -> list[str]:
        now = data()
        changed = [k for k, v in content.items() if not _equal(now.get(k, MISSING), v)]
        new = [k for k in now if k not in content]
        for key in changed:
            setattr(kind, key, content[key])
        for key in new:
            delattr(kind, key)
        return [f".{key}" for key in (*changed, *new)]

    return restore
