"""The surroundings of a step: all that it can reach, put back after each run, and told where that was needed.

A teacher that follows the model, a counter, a `forward` that the step wraps, a scheduler, a batch that is
changed in place: whatever one run leaves behind, the next one would find, and be another step.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from suite.machine import global_state, memory
from suite.recovery.hidden_state import may_hide
from suite.recovery.put_back import BY_ITSELF, GENERATORS, PutBack, PutBackChange, keepers, rewinder
from suite.recovery.reachable import reachable

EXPECTED = (Optimizer, LRScheduler, GradScaler)
INTERNAL = ("._parameters", "._buffers", "._modules")


class Surroundings:
    """The state of all that some functions and objects can reach, as it was when this was made."""

    def __init__(self, model: nn.Module, **others: object) -> None:
        """Remember the state of what `model` and the `others`, which have names, can reach."""
        self.transparent = True
        """Whether nothing is reached that may hold what cannot be put back."""
        self.scaled = False
        """Whether a GradScaler is reached."""
        self.left_values = False
        """Whether plain values, a count or a switch, had to be put back so far."""
        self.seconds: float | None = None
        """How long the step's last call took; None before its first."""
        self.told: dict[str, None] = {}
        """What had to be put back so far beyond the model's numbers, modes and optimizers, in order."""
        self._saved: list[tuple[str, PutBack]] = []
        self._generators: list[Any] = []
        self._states = _random_states()
        self._room = memory.free_bytes(torch.device("cpu")) // 4
        tensors = {id(t) for t in (*model.parameters(), *model.buffers())}
        self._silent = {id(p.grad) for p in model.parameters()} | tensors
        for name, value in reachable({"model": model, **others}):
            self.transparent = self.transparent and not may_hide(value)
            self.scaled = self.scaled or isinstance(value, GradScaler)
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
            for write, _, state in self._states:
                write(state)
            for restore in self._generators:
                restore(None)
        else:
            global_state.seed(seed)
            for restore in self._generators:
                restore(seed)

    def drawn(self) -> bool:
        """Whether random numbers may have been drawn since the last rewinding."""
        return bool(self._generators) or any(not same_state(read(), state) for _, read, state in self._states)

    def random_numbers(self) -> list[Any]:
        """The states of the random numbers that everybody shares, as they are now."""
        return [read() for _, read, _ in self._states]

    def put_back(self) -> list[PutBackChange]:
        """Put everything back; what had changed, by its whole name, is noted."""
        for restore in self._generators:
            restore(None)
        changes = [
            PutBackChange(_shown(name, change.name), change.redo)
            for name, restore in self._saved
            for change in restore()
        ]
        self.told |= dict.fromkeys(change.name for change in changes)
        self.left_values = self.left_values or any(change.redo is not None for change in changes)
        return changes

    @property
    def changes(self) -> tuple[str, ...]:
        """What had to be put back so far, by name; many parts of one thing are that thing."""
        parts: dict[str, list[str]] = {}
        for name in self.told:
            parts.setdefault(re.split(r"[.\[]", name, maxsplit=1)[0], []).append(name)
        few = (names if len(names) <= 3 else [f"{w} (in {len(names)} places)"] for w, names in parts.items())
        return tuple(name for names in few for name in names)

    def _save(self, name: str, value: Any) -> None:
        if isinstance(value, GENERATORS):
            self._generators.append(rewinder(value))
            return
        quiet = id(value) in self._silent or isinstance(value, EXPECTED)
        if isinstance(value, Tensor) and not quiet:
            size = value.numel() * value.itemsize if value.layout == torch.strided else 0
            if size > self._room:
                return
            self._room -= size
        for restore in keepers(value):
            self._saved.append((name, _quiet(restore) if quiet else restore))
        if isinstance(value, EXPECTED):  # so is what they hold
            self._silent |= {id(part) for _, part in reachable({"": value})}


def _shown(name: str, what: str) -> str:
    whole = what[1:] if what.startswith(BY_ITSELF) else f"{name}{what}"
    for internal in INTERNAL:
        whole = whole.replace(internal, "")
    return re.sub(r"\._(\w*hooks\w*\.\d+|is_full_backward_hook)", " (hooks)", whole)


def _quiet(restore: PutBack) -> PutBack:
    def silent() -> list[PutBackChange]:
        restore()
        return []

    return silent


RandomState = tuple[Callable[[Any], object], Callable[[], Any], Any]
"""What writes a state, what reads it, and how it was."""


def _random_states() -> list[RandomState]:
    states: list[RandomState] = [
        (torch.set_rng_state, torch.get_rng_state, torch.get_rng_state()),
        (random.setstate, random.getstate, random.getstate()),
        (np.random.set_state, np.random.get_state, np.random.get_state()),  # noqa: NPY002  steps draw from it
    ]
    if torch.cuda.is_initialized():  # uncovered: needs a CUDA device
        states.append(
            (torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all, torch.cuda.get_rng_state_all())
        )
    return states


def same_state(a: Any, b: Any) -> bool:
    """Whether two states of a generator are the same."""
    if isinstance(a, tuple | list):
        return len(a) == len(b) and (_is_plain_and_equal(a, b) or all(map(same_state, a, b)))
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    return bool(np.array_equal(a, b))


def _is_plain_and_equal(a: Any, b: Any) -> bool:
    """Whether these are the same whole numbers, as the six hundred of Python's generator are."""
    return all(type(part) is int for part in a) and bool(a == b)
