"""The device that a run uses, and what to record of it and of torch."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.errors import UsageError
from suite.machine.cuda import attention, reduced_sums
from suite.machine.version import __version__

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "float64", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "cuda", "mps")
PACKAGES = ("torch", "opacus", "numpy", "pandas", "scikit-learn")


def choose_device(name: str) -> torch.device:
    """The device of this `name`; `auto` is CUDA where there is one, and else the processor.

    Raises:
        UsageError: The name is unknown, or there is no such device here.
    """
    import torch

    if name.split(":")[0] not in DEVICES:
        raise UsageError(f"no device is named {name!r}; there are {', '.join(DEVICES)} (cuda:N)")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"{name!r} is no device; write cpu, cuda, cuda:N or mps") from None
    if not available[device.type]:
        raise UsageError(f"this machine, or this build of torch, has no {device.type}: use cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():  # uncovered: needs CUDA
        raise UsageError(f"no {name}: there are {torch.cuda.device_count()} CUDA devices, from 0")
    return device


def told_of_choice(asked: str, device: torch.device) -> str:
    """What `auto` took and why, where that may surprise; empty elsewhere."""
    if asked != "auto" or device.type != "cuda":
        return ""
    return (  # uncovered: needs a CUDA device
        f"Device: {device} ({device_name(device)}), as --device auto takes CUDA where it is. Kernels of "
        "small cases take longer to start than to compute: those are faster with --device cpu."
    )


def choose_dtype(name: str) -> torch.dtype:
    """The floating-point dtype of this `name`.

    Raises:
        UsageError: It is not one of `DTYPES`.
    """
    import torch

    if name not in DTYPES:
        raise UsageError(f"no dtype is named {name!r}; there are {', '.join(DTYPES)}")
    return getattr(torch, name)  # type: ignore[no-any-return]


def device_name(device: torch.device) -> str:
    """What the device is called by its maker."""
    import torch

    if device.type == "cuda":  # uncovered: needs a CUDA device
        return torch.cuda.get_device_name(device)
    return _processor() or platform.processor() or platform.machine()


def _processor() -> str | None:
    """The processor's name where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # uncovered: only Linux has /proc
        return None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else None


def versions() -> dict[str, str]:
    """The versions of the suite, Python and the packages that a result depends on."""
    found = {"gradsuite": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def describe(device: torch.device) -> dict[str, Any]:
    """What reproducing a run needs to know of the machine and of torch's state."""
    import torch

    return {
        **versions(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": str(device),
        "device_name": device_name(device),
        "cuda": torch.version.cuda,
        **_cuda(device),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        "commit": (commit := _commit()),
        "dirty": None if commit is None else commit.endswith("-dirty"),
    }


def _cuda(device: torch.device) -> dict[str, Any]:
    """What numbers on a CUDA device depend on besides; None elsewhere."""
    import torch

    if device.type != "cuda":
        return dict.fromkeys(("driver", "cudnn", "capability", "reduced_sums", "attention"))
    cudnn = torch.backends.cudnn.version()  # uncovered: needs a CUDA device
    return {  # uncovered: needs a CUDA device
        "driver": _driver(),
        "cudnn": None if cudnn is None else str(cudnn),
        "capability": ".".join(map(str, torch.cuda.get_device_capability(device))),
        "reduced_sums": any(reduced_sums()),
        "attention": ", ".join(attention()),
    }


def _driver() -> str | None:  # uncovered: needs a CUDA device
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return _output(command, Path.cwd())


def _commit() -> str | None:
    """The git commit of the suite's own source, marked where it was changed since."""
    here = Path(__file__).parent
    if _output(["git", "ls-files", "--error-unmatch", __file__], here) is None:
        return None  # an installed copy, perhaps inside somebody else's repository
    return _output(["git", "describe", "--always", "--dirty", "--abbrev=12"], here)


def _output(command: list[str], where: Path) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603  a fixed command
            command, cwd=where, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else None
