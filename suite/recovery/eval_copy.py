"""A model whose samples have losses of their own: a copy in eval mode, whose `forward` is its own, too."""

from __future__ import annotations

import contextlib
import copy
import types
from typing import Any, cast

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from suite.loops.autograd import values
from suite.loops.batch import Batch, content
from suite.loops.copies import copied, copy_plain
from suite.loops.loop import Losses
from suite.recovery.reachable import cells_of

INDIFFERENT = (
    nn.Linear, nn.Bilinear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding, nn.EmbeddingBag,
    nn.LayerNorm, nn.GroupNorm, nn.RNNBase,
)  # fmt: skip
"""Layers that compute the same in train mode (recurrent ones once their dropout is 0)."""


def in_eval_mode(model: nn.Module, *, shared: bool = False) -> nn.Module:
    """A copy of `model` without dropout, its normalisation on running statistics.

    Args:
        model: left as it is.
        shared: whether the copy's parameters are the model's own numbers, which then nobody may change.

    Raises:
        UsageError: The model cannot be copied.
    """
    memo: dict[int, Any] = {}
    if shared:
        memo = {
            id(p): nn.Parameter(p.detach(), requires_grad=p.requires_grad)
            for p in model.parameters()
            if type(p) is nn.Parameter
        }
        if all(type(p) is nn.Parameter for p in model.parameters()):
            copy_plain(model, memo)
    evaluated = with_own_functions(model, memo).eval()
    for module in evaluated.modules():
        # Opacus sees layers in train mode only, and cuDNN differentiates recurrent ones only there.
        # A hook may ask for the mode, as the old spectral_norm does.
        if isinstance(module, INDIFFERENT) and not module._forward_pre_hooks:  # noqa: SLF001
            module.training = True
        if isinstance(module, nn.RNNBase):
            module.dropout = 0.0
    return evaluated


def with_own_functions(model: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """A copy of `model` in its modes; functions that were put on its modules compute with the copy.

    Raises:
        UsageError: The model cannot be copied.
    """
    memo = {} if memo is None else memo
    found = copied(model, memo)
    for module in found.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, types.FunctionType):
                vars(module)[name] = _Carried(_carried(value, memo))
            elif isinstance(value, types.MethodType) and value.__self__ is module:
                vars(module)[name] = _CarriedMethod(
                    _carried(cast(types.FunctionType, value.__func__), memo), module
                )
    return found


def with_shapes(model: nn.Module, batch: Batch, losses: Losses) -> None:
    """Give lazy layers that have seen nothing the shapes that this batch asks for, as a first call would."""
    if not any(map(is_lazy, (*model.parameters(), *model.buffers()))):
        return
    modes = [(module, module.training) for module in model.modules()]
    # Where they fail, whoever asks next says why.
    with torch.random.fork_rng(devices=[]), contextlib.suppress(Exception):
        values(lambda: losses(model.eval(), content(batch)))
    for module, mode in modes:
        module.training = mode


class _Carried:
    """A function on a module that is copied with it.

    Accelerate and others put a function in the place of `forward` that calls the module's own. Copies of
    a module share their functions, and so would compute with the parameters of the first.
    """

    def __init__(self, function: types.FunctionType) -> None:
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Carried:
        return _Carried(_carried(self.function, memo))


class _CarriedMethod:
    """The same for a function that is bound to its module, as TRL binds one in the place of `forward`."""

    def __init__(self, function: Any, module: nn.Module) -> None:
        self.function, self.module = function, module

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(self.module, *args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> _CarriedMethod:
        module = copy.deepcopy(self.module, memo)
        return _CarriedMethod(_carried(self.function, memo), module)


def _carried(function: types.FunctionType, memo: dict[int, Any]) -> types.FunctionType:
    """The function with the copies of those modules that it encloses."""
    if not getattr(function, "__closure__", None) or id(function) in memo:  # not every callable has one
        return memo.get(id(function), function)  # type: ignore[no-any-return]
    cells = tuple(types.CellType() for _ in function.__closure__ or ())
    found = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, cells
    )
    found.__kwdefaults__ = function.__kwdefaults__
    memo[id(function)] = found  # before its cells: it may call itself
    for cell, (_, theirs) in zip(cells, cells_of(function), strict=True):
        with contextlib.suppress(ValueError):  # nothing is in it yet
            cell.cell_contents = _copied(theirs.cell_contents, memo)
    return found


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    if isinstance(value, types.FunctionType):
        return _carried(value, memo)
    if isinstance(value, types.MethodType):
        return types.MethodType(value.__func__, _copied(value.__self__, memo))
    return memo.get(id(value), value) if isinstance(value, nn.Module) else value
