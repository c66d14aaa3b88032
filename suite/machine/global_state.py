"""What results depend on in the process and in torch: known while something is measured, then put back.

A case is anybody's code. Whatever it changes for everyone, the cases after it and the program that called
the suite find as it was before.
"""

from __future__ import annotations

import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any, cast

import numpy as np
import torch
from torch.nn.modules import module as modules
from torch.optim import optimizer as optimizers

from suite.machine.cuda import (
    ATTENTION_KERNELS,
    attention,
    fix_workspace,
    reduced_sums,
    require_workspace,
    set_attention,
    set_reduced_sums,
    set_tf32,
)
from suite.machine.signals import exits_raised

COMPILER = "torch._inductor.config"

State = tuple[Callable[[], Any], Callable[[Any], object]]
"""How to read something, and how to put it back."""


@contextmanager
def preserved(states: Sequence[State], devices: Sequence[torch.device] = ()) -> Iterator[None]:
    """Put back afterwards these `states`, and the random numbers of torch; inside, no code ends the process.

    Args:
        states: `COMPUTATION`, `PROCESS`, or both.
        devices: the CUDA devices whose random numbers are kept; all where some are in use already.
    """
    used = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else list(devices)
    with torch.random.fork_rng(devices=used), exits_raised(), ExitStack() as stack:
        for read, write in states:
            stack.callback(write, read())
        yield


@contextmanager
def on_host() -> Iterator[None]:
    """New tensors on the processor where nothing else is said, whatever the default device is."""
    before = _device()
    _set_device(torch.device("cpu"))
    try:
        yield
    finally:
        _set_device(before)


@contextmanager
def pinned(device: torch.device, *, deterministic: bool = True) -> Iterator[None]:
    """Torch in a known state: deterministic algorithms, no TF32, gradients on; all put back afterwards.

    Raises:
        UsageError: cuBLAS was started without what makes it deterministic.
    """
    strict = deterministic and device.type == "cuda"
    if strict:  # uncovered: needs a CUDA device
        fix_workspace()
    with preserved((*COMPUTATION, *PROCESS), [device] if device.type == "cuda" else []):
        _set_deterministic((deterministic, False))
        if deterministic and COMPILER not in sys.modules:
            os.environ["TORCHINDUCTOR_DETERMINISTIC"] = "1"  # the compiler reads this when it is imported
        torch.backends.cudnn.benchmark = False
        _set_full_precision()
        set_attention(ATTENTION_KERNELS)
        torch.set_default_dtype(torch.float32)
        _set_device(torch.device("cpu"))
        torch.set_grad_enabled(True)
        if strict:  # uncovered: needs a CUDA device
            require_workspace(device)
        yield


@contextmanager
def full_precision(device: torch.device | None = None) -> Iterator[None]:
    """Products and sums in the format of their numbers: no TF32, which cuDNN takes by default.

    What is held against what cannot be held with ten bits of mantissa; all is put back afterwards.

    Args:
        device: where all is computed; anywhere if None. A processor that is exact already is left alone:
            for a small model the settings of CUDA take as long as its forward pass.
    """
    if device is not None and device.type == "cpu" and _processor_is_exact():
        yield
        return
    with ExitStack() as stack:
        for read, write in PRECISION:
            stack.callback(write, read())
        _set_full_precision()
        yield


@contextmanager
def loading() -> Iterator[None]:
    """While case files are imported: they find the same random numbers in every process.

    What they change of the process itself, as the environment, is left: they are imported only once.
    """
    with preserved(COMPUTATION):
        seed(0)
        yield


def seed(number: int) -> None:
    """Begin all random numbers anew: torch's, Python's and NumPy's."""
    torch.manual_seed(number)
    random.seed(number)
    np.random.seed(number % 2**32)  # noqa: NPY002  it is this state that others' code draws from


def _directory() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109  as `os.chdir` takes it
    except FileNotFoundError:  # it was removed
        return None


def _set_directory(before: str | None) -> None:
    if before is not None and _directory() != before:
        os.chdir(before)


def _set_environment(before: dict[str, str]) -> None:
    if os.environ != before:
        os.environ.clear()
        os.environ.update(before)


def _set_filters(before: list[Any]) -> None:
    if warnings.filters != before:  # or else all that was shown once would be shown again
        warnings.resetwarnings()
        cast(list[Any], warnings.filters).extend(before)


def _device() -> torch.device:
    try:
        return torch.get_default_device()
    except AttributeError:  # uncovered: torch 2.6 alone, after somebody set it to None
        return torch.device("cpu")


def _set_device(before: torch.device) -> None:
    if _device() == before:
        return
    torch.set_default_device(None if before.type == "cpu" else before)
    known: Any = torch._GLOBAL_DEVICE_CONTEXT  # noqa: SLF001  torch 2.6 cannot read None there
    if before.type == "cpu" and getattr(known, "device_context", before) is None:
        del known.device_context


def _hooks() -> list[tuple[dict[str, Any], str, Any]]:
    """The hooks that torch runs for every module and every optimizer."""
    found = []
    for where in (vars(modules), vars(optimizers)):
        for name in [name for name in where if name.startswith("_global_")]:
            value = where[name]
            found.append((where, name, dict(value) if isinstance(value, dict) else value))
    return found


def _set_hooks(before: list[tuple[dict[str, Any], str, Any]]) -> None:
    for where, name, value in before:
        if isinstance(value, dict):
            if dict(where[name]) == value:
                continue  # torch may be going through them right now
            where[name].clear()  # the same object: handles that remove a hook know it
            where[name].update(value)
        else:
            where[name] = value


@cache
def _precise() -> list[Any]:
    """What has a precision of float32 products of its own; nothing in torch before 2.9."""
    b: Any = torch.backends
    inner = [getattr(b.cudnn, name, None) for name in ("conv", "rnn")]
    inner += [getattr(b.mkldnn, name, None) for name in ("matmul", "conv", "rnn")]
    return [
        where for where in (b, b.cuda.matmul, b.cudnn, b.mkldnn, *inner) if hasattr(where, "fp32_precision")
    ]


def _processor_is_exact() -> bool:
    b: Any = torch.backends
    places = [b, b.mkldnn, *(getattr(b.mkldnn, name, None) for name in ("matmul", "conv", "rnn"))]
    if any(getattr(where, "fp32_precision", "none") not in {"none", "ieee"} for where in places):
        return False
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # somebody used this and the settings of before 2.9
        return False


def _float32() -> tuple[tuple[str, ...], bool | None, bool | None, str | None]:
    """How exact float32 products are: as torch says now, and as it did before 2.9 where the two agree."""
    old: list[Any] = []
    for read in (
        lambda: torch.backends.cuda.matmul.allow_tf32,
        lambda: torch.backends.cudnn.allow_tf32,
        torch.get_float32_matmul_precision,
    ):
        try:
            old.append(read())
        except RuntimeError:  # somebody used both
            old.append(None)
    return tuple(where.fp32_precision for where in _precise()), *old


def _set_float32(before: tuple[tuple[str, ...], bool | None, bool | None, str | None]) -> None:
    now, products, convolutions, precision = before
    if _float32() == before:
        return  # most of what is asked for is there already, and a small model takes no longer than this
    for where in _precise():
        where.fp32_precision = "none"  # as what is around it: only what differs is said below
    if products is not None:
        torch.backends.cuda.matmul.allow_tf32 = products
    if convolutions is not None:
        torch.backends.cudnn.allow_tf32 = convolutions
    if precision is not None:
        torch.set_float32_matmul_precision(precision)
    for where, value in zip(_precise(), now, strict=True):
        if where.fp32_precision != value:
            where.fp32_precision = value


def _set_full_precision() -> None:
    _set_float32((("none",) * len(_precise()), None, None, "highest"))
    set_tf32(False)
    set_reduced_sums((False, False))


def _deterministic() -> tuple[bool, bool]:
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    return torch.are_deterministic_algorithms_enabled(), warn_only


def _set_deterministic(before: tuple[bool, bool]) -> None:
    """Let torch use deterministic algorithms only, or any.

    `use_deterministic_algorithms` would import the compiler to tell it too: a second and more, at the
    start of every run. Where nothing has imported it yet there is nobody to tell.
    """
    mode, warn_only = before
    if COMPILER in sys.modules:
        torch.use_deterministic_algorithms(mode, warn_only=warn_only)
    else:
        torch.set_deterministic_debug_mode(("warn" if warn_only else "error") if mode else "default")


def _anomaly() -> tuple[bool, bool]:
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


def _autocast(kind: str) -> State:
    return lambda: torch.is_autocast_enabled(kind), lambda on: torch.set_autocast_enabled(kind, on)


def _attribute(where: Any, name: str) -> State:
    return lambda: getattr(where, name), lambda value: setattr(where, name, value)


DIRECTORY: State = (_directory, _set_directory)

PROCESS: Sequence[State] = (
    (lambda: list(warnings.filters), _set_filters),
    (lambda: dict(os.environ), _set_environment),
    DIRECTORY,
)
"""What is the whole process's."""

PRECISION: Sequence[State] = ((_float32, _set_float32), (reduced_sums, set_reduced_sums))
"""How exact products are."""

COMPUTATION: Sequence[State] = (
    (random.getstate, random.setstate),
    (np.random.get_state, np.random.set_state),
    (np.geterr, lambda before: np.seterr(**before)),
    # what numbers are
    (torch.get_default_dtype, torch.set_default_dtype),
    (_device, _set_device),
    (lambda: sys.float_info.min / 2 == 0, torch.set_flush_denormal),
    # how torch computes
    *PRECISION,
    (_deterministic, _set_deterministic),
    (attention, set_attention),
    *(_attribute(torch.backends.cudnn, name) for name in ("enabled", "benchmark", "deterministic")),
    *(_autocast(kind) for kind in ("cpu", "cuda")),
    (torch.get_num_threads, torch.set_num_threads),
    # how it differentiates
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (_anomaly, lambda before: torch.set_anomaly_enabled(*before)),
    (_hooks, _set_hooks),
)
"""What changes numbers, or whether there are any."""
