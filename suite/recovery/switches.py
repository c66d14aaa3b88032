"""Layers that mix samples or draw random numbers: seen when they are called, and switched off.

A layer is switched where torch's function is called, whoever calls it. Inside a backward pass (activation
checkpointing computes there once more) torch's own switchboard is off; there the names in
`torch.nn.functional` are what is switched.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.overrides import TorchFunctionMode

from suite.registry import Registry

ATTENTION = F.scaled_dot_product_attention
IN_ORDER = ("query", "key", "value", "attn_mask", "dropout_p")  # a builtin: Python cannot see its signature
RECURRENT = tuple(getattr(torch, name) for name in ("lstm", "gru", "rnn_tanh", "rnn_relu"))


@dataclass(frozen=True)
class Switch:
    """A kind of layer that can be switched off.

    Args:
        name: as a cause says it.
        off: by function of torch, the arguments with which it does nothing to speak of.
        active: whether a call with these arguments does something that `off` would undo.
    """

    name: str
    off: Mapping[Callable[..., Any], Mapping[str, Any]]
    active: Callable[[Mapping[str, Any]], bool]


switches: Registry[Switch] = Registry("switch")


def _drops(arguments: Mapping[str, Any]) -> bool:
    on = bool(arguments.get("training", True))
    return on and float(arguments.get("p", arguments.get("dropout_p", 0.5))) > 0.0


def _normalises(arguments: Mapping[str, Any]) -> bool:
    """Without running statistics there is nothing else to normalise by."""
    return bool(arguments.get("training", False)) and arguments.get("running_mean") is not None


DROPOUTS = (
    F.dropout,
    F.dropout1d,
    F.dropout2d,
    F.dropout3d,
    F.alpha_dropout,
    F.feature_alpha_dropout,
)
dropout = switches.add(
    Switch(
        "dropout",
        {function: {"training": False} for function in DROPOUTS}
        | {ATTENTION: {"dropout_p": 0.0}}
        | {function: {"dropout_p": 0.0} for function in (F.multi_head_attention_forward, *RECURRENT)},
        _drops,
    )
)
batch_norm = switches.add(Switch("BatchNorm in train mode", {F.batch_norm: {"training": False}}, _normalises))


def _tracks(arguments: Mapping[str, Any]) -> bool:
    """In eval mode it would normalise by its running statistics."""
    return bool(arguments.get("use_input_stats", True)) and arguments.get("running_mean") is not None


instance_norm = switches.add(
    Switch("InstanceNorm in train mode", {F.instance_norm: {"use_input_stats": False}}, _tracks)
)
spectral_norm = switches.add(Switch("spectral_norm in train mode", {}, lambda _: True))
"""Its vectors move at each call, by a method of its own: see `_spectral`."""


@dataclass
class SeenLayers:
    """Which switches were active in a run: the names of those that would have changed something."""

    names: set[str] = field(default_factory=set)


@contextmanager
def switched(off: Sequence[str] = ()) -> Iterator[SeenLayers]:
    """Runs torch's functions with some switches `off`, and sees which of the others are active."""
    seen = SeenLayers()
    board: dict[Any, Callable[..., Any]] = {}
    for switch in switches:
        for function, arguments in switch.off.items():
            board[function] = _through(function, switch, arguments if switch.name in off else None, seen)
    with ExitStack() as stack:
        for function, call in board.items():
            name = function.__name__
            if getattr(F, name, None) is function:
                setattr(F, name, call)
                stack.callback(setattr, F, name, function)
        stack.enter_context(_Switchboard(board))
        stack.enter_context(_spectral(seen, still=spectral_norm.name in off))
        yield seen


@contextmanager
def _spectral(seen: SeenLayers, *, still: bool) -> Iterator[None]:
    """Sees the power iterations of spectral norms, hook and parametrization; none is made if `still`."""
    places = (SpectralNorm, "compute_weight"), (_SpectralNorm, "_power_method")
    compute, iterate = (getattr(kind, name) for kind, name in places)

    def computed(self: Any, module: Any, do_power_iteration: bool) -> Any:  # noqa: FBT001  as torch has it
        if do_power_iteration:
            seen.names.add(spectral_norm.name)
        return compute(self, module, do_power_iteration and not still)

    def iterated(self: Any, *args: Any) -> None:
        seen.names.add(spectral_norm.name)
        if not still:
            iterate(self, *args)

    with ExitStack() as stack:
        for (kind, name), method, own in zip(places, (computed, iterated), (compute, iterate), strict=True):
            setattr(kind, name, method)
            stack.callback(setattr, kind, name, own)
        yield


def _through(
    function: Callable[..., Any], switch: Switch, off: Mapping[str, Any] | None, seen: SeenLayers
) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = _arguments(function, args, kwargs)
        if not switch.active(given):
            return function(*args, **kwargs)
        seen.names.add(switch.name)
        if off is None:
            return function(*args, **kwargs)
        changed = {**given, **off}
        return function(*changed.values()) if function in RECURRENT else function(**changed)

    return call


def _arguments(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of a call by name, in order."""
    if function is ATTENTION:
        return {"dropout_p": 0.0} | dict(zip(IN_ORDER, args, strict=False)) | dict(kwargs)
    if function in RECURRENT:  # …, weights, has_biases, num_layers, dropout, train, …; packed or not
        weights = next(place for place, value in enumerate(args) if isinstance(value, list))
        names = {weights + 3: "dropout_p", weights + 4: "training"}
        return {names.get(place, str(place)): value for place, value in enumerate(args)}
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


class _Switchboard(TorchFunctionMode):
    """Hands torch's functions to those that stand for them."""

    def __init__(self, board: Mapping[Any, Callable[..., Any]]) -> None:
        super().__init__()
        self.board = board

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func`, or what stands for it."""
        return self.board.get(func, func)(*args, **(kwargs or {}))
