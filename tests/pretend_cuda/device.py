"""torch.cuda on the pretend device: `load()` before anything imports torch.

At its import torch asks once whether there is CUDA, and keeps the answer. `PRETEND_CUDA_DEVICES` in the
environment says how many devices there are.
"""

from __future__ import annotations

import copy
import ctypes
import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

CAPABILITY = (9, 0)
BYTES = 80_000_000_000


def load(library: Path) -> None:
    """Let torch have the device that this library is."""
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    import torch

    name = library.name.partition(".")[0]
    spec = importlib.util.spec_from_file_location(name, library)
    assert spec is not None
    assert spec.loader is not None
    device = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(device)
    assert device.is_known(), "torch asked for CUDA before the pretend device was loaded"
    sys.modules[name] = device
    functions = _Functions(torch, device)
    torch.cuda._queued_calls.clear()
    for name in [name for name in dir(functions) if not name.startswith(("__", "_Functions"))]:
        _replace(torch, name, getattr(functions, name))
    torch.version.cuda = "13.0"
    torch.cuda.Event = _event(device)
    torch.cuda.device = _current(functions, device)
    torch.Tensor.__deepcopy__ = _deepcopy(torch)


def _replace(torch: Any, name: str, function: Any) -> None:
    """Let `torch.cuda`, and each of its modules that has the same function, have this one."""
    before = getattr(torch.cuda, name, None)
    for module in [m for n, m in sys.modules.items() if n == "torch.cuda" or n.startswith("torch.cuda.")]:
        if before is not None and getattr(module, name, None) is before:
            setattr(module, name, function)


class _Functions:
    """What replaces functions of `torch.cuda`, by their names."""

    def __init__(self, torch: Any, device: ModuleType) -> None:
        self.__torch, self.__device = torch, device
        self.device_count = device.device_count

    def __call__(self, given: Any = None) -> int:
        """The number of a device, however it is given; of the current one if it is not."""
        if given is None:
            return int(self.__device.device())
        if not isinstance(given, int):
            given = self.__torch.device(given)
            if given.type != "cuda":
                raise ValueError(f"Expected a cuda device, but got: {given}")
            given = self.__device.device() if given.index is None else given.index
        if not 0 <= given < self.__device.device_count():
            raise RuntimeError(f"CUDA error: invalid device ordinal {given}")
        return int(given)

    def _lazy_init(self) -> None:
        cuda, device = self.__torch.cuda, self.__device
        if not cuda._initialized:
            cuda._initialized = True
            generators = (device.default_generator(k) for k in range(device.device_count()))
            cuda.default_generators = tuple(generators)
            for seed, _ in filter(None, cuda._lazy_seed_tracker.get_calls()):
                seed()

    def is_initialized(self) -> bool:
        return bool(self.__torch.cuda._initialized)

    def is_available(self) -> bool:
        return True

    def _is_in_bad_fork(self) -> bool:
        return False

    def current_device(self) -> int:
        self._lazy_init()
        return self()

    def set_device(self, given: Any) -> None:
        self._lazy_init()
        self.__device.set_device(self(given))

    def synchronize(self, given: Any = None) -> None:
        self._lazy_init()
        self(given)
        self.__device.synchronize()

    def get_device_name(self, given: Any = None) -> str:
        self._lazy_init()
        self(given)
        return "Pretend H100"

    def get_device_capability(self, given: Any = None) -> tuple[int, int]:
        self._lazy_init()
        self(given)
        return CAPABILITY

    def mem_get_info(self, given: Any = None) -> tuple[int, int]:
        self._lazy_init()
        return BYTES - self.__device.allocated(self(given)), BYTES

    def memory_allocated(self, given: Any = None) -> int:
        return int(self.__device.allocated(self(given)))

    def memory_reserved(self, given: Any = None) -> int:
        return self.memory_allocated(given)

    def max_memory_allocated(self, given: Any = None) -> int:
        return int(self.__device.peak(self(given)))

    def reset_peak_memory_stats(self, given: Any = None) -> None:
        if not self.is_initialized():
            raise RuntimeError("Invalid device argument: did you call init?")
        self.__device.reset_peak(self(given))

    def empty_cache(self) -> None:
        return None


def _event(device: ModuleType) -> type:
    class Event:
        """A moment on a device; two of different devices have no time between them, as on CUDA."""

        def __init__(self, enable_timing: bool = False, **_: Any) -> None:
            self.timing = enable_timing
            self.moment = 0.0
            self.device: int | None = None

        def record(self, stream: Any = None) -> None:
            self.moment, self.device = time.perf_counter(), device.device()

        def elapsed_time(self, other: Event) -> float:
            if not (self.timing and other.timing) or None in (self.device, other.device):
                raise RuntimeError("Both events must be recorded with timing.")
            if self.device != other.device:
                raise RuntimeError("CUDA error: invalid resource handle")
            return (other.moment - self.moment) * 1e3

        def synchronize(self) -> None:
            device.synchronize()

    return Event


def _current(index: Any, device: ModuleType) -> type:
    class CurrentDevice:
        """`with torch.cuda.device(…)`."""

        def __init__(self, given: Any) -> None:
            self.index = None if given is None else index(given)

        def __enter__(self) -> None:
            self.before = device.device()
            if self.index is not None:
                device.set_device(self.index)

        def __exit__(self, *_: object) -> None:
            device.set_device(self.before)

    return CurrentDevice


def _deepcopy(torch: Any) -> Any:
    """Torch copies the storage of a CUDA tensor by code that a build without CUDA does not have."""
    plain = torch.Tensor.__deepcopy__

    def deepcopy(self: Any, memo: dict[Any, Any]) -> Any:
        if not self.is_cuda or not self.is_leaf:
            return plain(self, memo)
        if id(self) in memo:
            return memo[id(self)]
        with torch.no_grad():
            storage = self.untyped_storage()
            shared = ("storage", storage._cdata)
            if shared not in memo:
                whole = torch.empty(0, dtype=torch.uint8, device=self.device)
                memo[shared] = whole.set_(storage).clone()
            made = torch.empty(0, dtype=self.dtype, device=self.device)
            made.set_(memo[shared].untyped_storage(), self.storage_offset(), self.size(), self.stride())
        made.requires_grad_(self.requires_grad)
        if self.grad is not None:
            made.grad = copy.deepcopy(self.grad, memo)
        if type(self) is not torch.Tensor:
            made = made.as_subclass(type(self))
        made.__dict__ = copy.deepcopy(self.__dict__, memo)
        memo[id(self)] = made
        return made

    return deepcopy
