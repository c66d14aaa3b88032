"""What a model is called with, kept as a batch whose samples can be read again."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from suite.errors import UsageError
from suite.loops.batch import Batch


@dataclass(frozen=True, eq=False)
class Circumstances:
    """In which modes and with which random numbers a model was called.

    Args:
        modes: by module name, whether it was in train mode.
        random: torch's random state on the processor.
        devices: the random states of CUDA devices, where they are in use.
        autocast: the kinds of device under autocast, and to which dtype.
    """

    modes: Mapping[str, bool]
    random: Tensor
    devices: tuple[Tensor, ...] = ()
    autocast: frozenset[tuple[str, torch.dtype]] = frozenset()

    @classmethod
    def now(cls, model: nn.Module) -> Circumstances:
        """Those of a call that is about to be made."""
        used = torch.cuda.is_initialized()
        kinds = ("cpu", "cuda") if used else ("cpu",)
        return cls(
            {name: module.training for name, module in model.named_modules()},
            torch.get_rng_state(),
            tuple(torch.cuda.get_rng_state_all()) if used else (),
            frozenset((k, torch.get_autocast_dtype(k)) for k in kinds if torch.is_autocast_enabled(k)),
        )

    def __call__(self, model: nn.Module) -> None:
        """Put a copy of the model, and the random numbers, into them."""
        for name, module in model.named_modules():
            if name in self.modes:
                module.training = self.modes[name]
        torch.set_rng_state(self.random)
        if self.devices:  # uncovered: needs a CUDA device
            torch.cuda.set_rng_state_all(list(self.devices))


@dataclass(frozen=True, eq=False)
class Call:
    """One call of the model with gradients enabled, or one batch that was handed over.

    Args:
        batch: samples along the first axis; a copy.
        circumstances: of the call.
        rank: the process that called it.
        left_out: what the model was called with that has no sample axis, in words.
        ranks: `[positions]` the process of each position, where several share a sequence.
    """

    batch: Batch
    circumstances: Circumstances | None = None
    rank: int = 0
    left_out: tuple[str, ...] = field(default=())
    ranks: Tensor | None = None


def called_with(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The arguments of a call as one batch: the only one, a tuple of them, or by name."""
    if not kwargs:
        return args[0] if len(args) == 1 else args
    if not args:
        return dict(kwargs)
    try:
        signature = inspect.signature(model.forward)
        named: dict[str, Any] = {}
        for name, value in signature.bind_partial(*args, **kwargs).arguments.items():
            others = signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
            named |= value if others else {name: value}
        return named
    except (TypeError, ValueError):
        return {**{str(place): value for place, value in enumerate(args)}, **kwargs}


def as_batch(given: Any) -> tuple[Batch, tuple[str, ...]]:
    """A copy of the tensors that have a sample axis; and what is left out or repeated, in words.

    A tensor whose first axis is 1 is repeated for all samples (positions, for example). What is no tensor
    (flags, caches), has no axis (a count of the window's items) or another first axis belongs to no sample.

    Raises:
        UsageError: There is no tensor with a sample axis.
    """
    first = next((t for t in _tensors(given) if t.ndim), None)
    if first is None:
        raise UsageError(
            f"the model was called with {_named(given)}, without a tensor: hand batches over, "
            "`for batch in audit.see(loader):`"
        )
    left: list[str] = []
    return _kept(given, len(first), "", left), tuple(left)


MISSING = object()


def _kept(value: Any, samples: int, name: str, left: list[str]) -> Any:
    if isinstance(value, Tensor):
        if value.ndim and len(value) == samples:
            return value.detach().clone()
        if value.ndim > 1 and len(value) == 1:
            left.append(f"{name or 'it'} is repeated, its first axis is 1")
            return value.detach().expand(samples, *value.shape[1:]).clone()
        axis = f"its first axis is {len(value)}" if value.ndim else "it is a number"
        left.append(f"{name or 'it'} is left out, {axis}")
        return MISSING
    if isinstance(value, Mapping):
        found = {key: _kept(part, samples, str(key), left) for key, part in value.items()}
        return {key: part for key, part in found.items() if part is not MISSING} or MISSING
    if isinstance(value, list | tuple):
        parts = [_kept(part, samples, f"{name}[{place}]", left) for place, part in enumerate(value)]
        kept = [part for part in parts if part is not MISSING]
        if hasattr(value, "_fields") and len(kept) == len(parts):
            return type(value)(*kept)
        return (list(kept) if isinstance(value, list) else tuple(kept)) if kept else MISSING
    if value is not None and not isinstance(value, bool | int | float | str):
        left.append(f"{name or 'it'} is left out, a {type(value).__name__}")
    return MISSING


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [tensor for part in parts for tensor in _tensors(part)]


def same_storage(a: Any, b: Any) -> bool:
    """Whether two calls were made with the same tensors in memory, as a recomputation is."""
    first, second = _tensors(a), _tensors(b)
    return len(first) == len(second) > 0 and all(
        x.data_ptr() == y.data_ptr() and x.shape == y.shape for x, y in zip(first, second, strict=True)
    )


def _named(given: Any) -> str:
    return ", ".join(map(repr, given)) if isinstance(given, Mapping) else f"a {type(given).__name__}"
