"""In which floating-point formats a step computes: watched, not guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from suite.loops import batch as batches
from suite.recovery.eval_copy import in_eval_mode
from suite.recovery.in_float64 import UnitProblem

SINGLE = float(torch.finfo(torch.float32).eps)
TF32 = 2.0**-10
"""The machine epsilon of TF32: products of float32 numbers with 10 bits after the leading one."""


@dataclass(frozen=True)
class Formats:
    """The formats that a step's gradient went through.

    Args:
        dtype: the narrowest of them, where that is narrower than float32.
        autocast: the kinds of device under autocast, and to which dtype.
        tf32: whether float32 products were rounded to TF32.
        cast: whether the step computes in `dtype` without autocast, though no parameter has it.
        sums: how many gradients were added up in `.grad`.
    """

    dtype: torch.dtype | None = None
    autocast: frozenset[tuple[str, torch.dtype]] = frozenset()
    tf32: bool = False
    cast: bool = False
    sums: int = 1

    @property
    def reduced(self) -> bool:
        """Whether anything was rounded to fewer digits than float32 has."""
        return self.dtype is not None or self.tf32

    @property
    def epsilon(self) -> float:
        """The machine epsilon of the narrowest format."""
        return TF32 if self.dtype is None else float(torch.finfo(self.dtype).eps)

    @property
    def name(self) -> str:
        """As people write it."""
        if self.dtype is None:
            return "TF32"
        return str(self.dtype).removeprefix("torch.") + (" under autocast" if self.autocast else "")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Torch computes as it did in the step."""
        before = torch.get_float32_matmul_precision() if self.tf32 else ""
        with ExitStack() as stack:
            if self.tf32:  # uncovered: needs a CUDA device
                torch.set_float32_matmul_precision("high")
                stack.callback(torch.set_float32_matmul_precision, before)
            for kind, dtype in self.autocast:
                stack.enter_context(torch.autocast(kind, dtype=dtype))
            yield


@dataclass(eq=False)
class SeenFormats:
    """What was watched."""

    dtypes: set[torch.dtype] = field(default_factory=set)
    autocast: set[tuple[str, torch.dtype]] = field(default_factory=set)
    tf32: bool = False
    backwards: int = 0


class Watch(TorchFunctionMode):
    """Notes the formats of all that requires a gradient while torch's functions are called."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = SeenFormats()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func` and look at what it returns."""
        if func is Tensor.backward:
            self.seen.backwards += 1
        found = func(*args, **(kwargs or {}))
        for value in found if isinstance(found, list | tuple) else (found,):
            if isinstance(value, Tensor) and value.is_floating_point() and value.requires_grad:
                self._note(value)
        return found

    def _note(self, value: Tensor) -> None:
        kind = value.device.type
        self.seen.dtypes.add(value.dtype)
        if torch.is_autocast_enabled(kind):
            self.seen.autocast.add((kind, torch.get_autocast_dtype(kind)))
        if kind == "cuda" and value.dtype == torch.float32:  # uncovered: needs a CUDA device
            self.seen.tf32 |= _tf32()


def formats_of(seen: SeenFormats, model: nn.Module) -> Formats:
    """The formats that were `seen` while a step of `model` ran."""
    own = {p.dtype for p in model.parameters() if p.is_floating_point()}
    narrow = [dtype for dtype in seen.dtypes | own if is_narrow(dtype)]
    dtype = max(narrow, key=lambda d: torch.finfo(d).eps, default=None)
    autocast = frozenset((kind, d) for kind, d in seen.autocast if is_narrow(d))
    cast = dtype is not None and dtype not in own and dtype not in {d for _, d in autocast}
    return Formats(dtype, autocast, seen.tf32 and dtype is None, cast, max(1, seen.backwards))


def is_narrow(dtype: torch.dtype) -> bool:
    """Whether it has fewer digits than float32."""
    return dtype.is_floating_point and float(torch.finfo(dtype).eps) > SINGLE


def in_formats(given: UnitProblem, found: Formats) -> UnitProblem:
    """A copy of the model in eval mode whose losses round as the step's do."""
    evaluated, batch = in_eval_mode(given.model), given.batch
    if found.cast and found.dtype is not None:
        narrow = found.dtype
        evaluated = evaluated.to(narrow)
        batch = batches.map_tensors(lambda t: t.to(narrow) if t.is_floating_point() else t, batch)

    def rounding(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def rounded(*args: Any) -> Tensor:
            with found.entered():
                return function(*args)

        return rounded

    penalty = given.regulariser
    return UnitProblem(
        evaluated, batch, rounding(given.losses), None if penalty is None else rounding(penalty)
    )


def _tf32() -> bool:  # uncovered: needs a CUDA device
    return torch.get_float32_matmul_precision() != "highest" or torch.backends.cudnn.allow_tf32
