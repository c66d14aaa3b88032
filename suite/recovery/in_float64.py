"""The units' gradients in float64, whatever format the losses are written for.

What a step is held against is exact, as far as that can be: where the losses would round to fewer digits
than float32 has, model, batch and losses are taken to float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from suite.loops import batch as batches
from suite.loops.batch import Batch
from suite.loops.loop import Losses, Regulariser
from suite.recovery.eval_copy import in_eval_mode

TO_NARROWER = ("float", "half", "bfloat16")
LIKE = ("randn_like", "rand_like")


class UnitProblem(NamedTuple):
    """What has unreduced losses: a model in eval mode with its batch."""

    model: nn.Module
    batch: Batch
    losses: Losses
    regulariser: Regulariser | None


def problem(
    model: nn.Module, batch: Batch, losses: Losses, regulariser: Regulariser | None, *, wide: bool
) -> UnitProblem:
    """A copy of the model in eval mode with its batch and losses, all in float64 if `wide`."""
    evaluated = in_eval_mode(model)
    if not wide:
        return UnitProblem(evaluated, batch, losses, regulariser)
    first = next(evaluated.parameters())
    usual, device = first.dtype, first.device

    def widely(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def wide_function(*args: Any) -> Tensor:
            with Wide(usual):
                return function(*args).double()

        return wide_function

    return UnitProblem(
        evaluated.double(),
        batches.map_tensors(lambda t: t.to(device).double() if t.is_floating_point() else t, batch),
        widely(losses),
        None if regulariser is None else widely(regulariser),
    )


class Wide(TorchFunctionMode):
    """Keeps float64 numbers in float64, whatever narrower format the code casts them to.

    Where they meet narrower ones, such as class weights of float32, those are cast. Autocast leaves
    float64 alone by itself.

    Args:
        usual: the format that the code is written for; random numbers are drawn in it.
    """

    def __init__(self, usual: torch.dtype) -> None:
        super().__init__()
        self.usual = usual

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func` with float64 in the place of narrower formats."""
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        mixed = [*args, *kwargs.values()]
        if not any(_is_double(part) for value in mixed for part in _flat(value)):
            return func(*args, **kwargs)
        if name in TO_NARROWER:
            return args[0]
        if name in LIKE:
            return func(args[0].to(self.usual), *args[1:], **kwargs).double()
        if name in ("to", "type", "type_as"):
            return func(args[0], *map(_no_cast, args[1:]), **{k: _no_cast(v) for k, v in kwargs.items()})
        if isinstance(kwargs.get("dtype"), torch.dtype) and kwargs["dtype"].is_floating_point:
            kwargs["dtype"] = torch.float64
        if name.startswith("__set") or (name.endswith("_") and not name.endswith("__")):
            return func(*args, **kwargs)  # in place: the target keeps its format
        return func(*map(_widened, args), **{k: _widened(v) for k, v in kwargs.items()})


def _is_double(value: object) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.float64


def _flat(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else (value,)


def _widened(value: Any) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64:
        return value.double()
    if type(value) in (list, tuple):
        return type(value)(map(_widened, value))
    return value


def _no_cast(value: Any) -> Any:
    """The target of a cast, without a narrower format."""
    if isinstance(value, torch.dtype) and value.is_floating_point:
        return torch.float64
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.double()
    return value
