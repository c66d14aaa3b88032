"""Modules that draw random numbers of their own: seen while a step runs, and put into eval mode inside it.

Torch's own dropouts are switches (`suite.recovery.switches`). Stochastic depth, word dropout and noise layers
are everybody's own: they are known by what they do to the state of the random numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.nn.modules import module as hooks

MODE = " in train mode"


@dataclass
class Drawing:
    """Who drew random numbers in a run.

    Args:
        in_train_mode: the kinds of modules that drew some while they were in train mode, as a cause says it.
        modules: the kinds of all modules that drew some.
    """

    in_train_mode: dict[str, None] = field(default_factory=dict)
    modules: dict[str, None] = field(default_factory=dict)


@contextmanager
def drawing(read: Callable[[], Any], same: Callable[[Any, Any], bool]) -> Iterator[Drawing]:
    """Inside, modules that draw are seen; a draw is that of the innermost module that runs.

    Args:
        read: the states of all random numbers.
        same: whether two of them are the same.
    """
    seen, running = Drawing(), [read()]
    open_modules: list[nn.Module] = []

    def look() -> None:
        now = read()
        if open_modules and not same(now, running[-1]):
            kind = type(open_modules[-1]).__name__
            seen.modules.setdefault(kind)
            if open_modules[-1].training:
                seen.in_train_mode.setdefault(f"{kind}{MODE}")
        running[-1] = now

    def enter(module: nn.Module, _args: Any) -> None:
        look()
        open_modules.append(module)
        running.append(running[-1])

    def leave(module: nn.Module, _args: Any, _out: Any) -> None:
        if open_modules and open_modules[-1] is module:
            look()
            open_modules.pop()
            running[-2:] = [running[-1]]

    with _around_forward(enter, leave):
        yield seen


@contextmanager
def hushed(names: Sequence[str]) -> Iterator[None]:
    """Inside, modules of these kinds, as `Drawing.in_train_mode` names them, run in eval mode."""
    kinds = {name.removesuffix(MODE) for name in names if name.endswith(MODE)}
    if not kinds:
        yield
        return
    modes: list[tuple[nn.Module, list[tuple[nn.Module, bool]]]] = []

    def enter(module: nn.Module, _args: Any) -> None:
        if type(module).__name__ in kinds:
            modes.append((module, [(each, each.training) for each in module.modules()]))
            for each in module.modules():
                each.training = False

    def leave(module: nn.Module, _args: Any, _out: Any) -> None:
        if modes and modes[-1][0] is module:
            for each, mode in modes.pop()[1]:
                each.training = mode

    with _around_forward(enter, leave):
        yield


@contextmanager
def _around_forward(enter: Callable[..., None], leave: Callable[..., None]) -> Iterator[None]:
    """Calls these before and after the forward of every module, also where it fails."""
    with ExitStack() as stack:
        stack.callback(hooks.register_module_forward_pre_hook(enter).remove)
        stack.callback(hooks.register_module_forward_hook(leave, always_call=True).remove)
        yield
