"""Compile the pretend device for the torch that is installed: `python -m tests.pretend_cuda.build`.

Takes half a minute, once for a version of the sources, of torch and of Python.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = HERE / "device"
NAME = "pretend_cuda_device"


def library() -> Path:
    """Where the compiled device is, or will be."""
    digest = hashlib.sha256()
    for path in (Path(__file__), *sorted(SOURCES.iterdir())):
        digest.update(path.read_bytes())
    for text in (sys.version, (_torch() / "version.py").read_text()):
        digest.update(text.encode())
    folder = os.environ.get("PRETEND_CUDA_BUILD") or HERE.parents[1] / "build" / "pretend_cuda"
    return Path(folder) / digest.hexdigest()[:12] / f"{NAME}{sysconfig.get_config_var('EXT_SUFFIX')}"


def compiler() -> str | None:
    """The C++ compiler, if there is one."""
    return shutil.which(os.environ.get("CXX", "g++")) or shutil.which("c++")


def why_not() -> str:
    """Why there is no pretend device; empty where there is one."""
    if library().exists():
        return ""
    if compiler() is None:
        return "no pretend CUDA device: this machine has no C++ compiler"
    return "no pretend CUDA device: `tox -e pretend-cuda` builds it and runs this"


def build() -> Path | None:
    """Compile it where that was not done; None without a compiler.

    Raises:
        subprocess.CalledProcessError: It does not compile with this torch.
    """
    made, cxx = library(), compiler()
    if made.exists() or cxx is None:
        return made if made.exists() else None
    torch = _torch()
    made.parent.mkdir(parents=True, exist_ok=True)
    unfinished = made.with_suffix(f".{os.getpid()}")
    folders = [torch / "include", torch / "include/torch/csrc/api/include", sysconfig.get_paths()["include"]]
    subprocess.run(
        [
            cxx, "-O1", "-w", "-shared", "-fPIC", "-std=c++20",
            f"-DTORCH_EXTENSION_NAME={NAME}", "-DTORCH_API_INCLUDE_EXTENSION_H",
            *(f"-I{folder}" for folder in folders), str(SOURCES / "pretend_cuda.cpp"), "-o", str(unfinished),
            f"-L{torch / 'lib'}", f"-Wl,-rpath,{torch / 'lib'}",
            "-lc10", "-ltorch_cpu", "-ltorch", "-ltorch_python",
        ],
        check=True,
    )  # fmt: skip
    unfinished.replace(made)
    return made


def _torch() -> Path:
    """The folder of torch, which is not imported for it: the device has to be there before."""
    found = find_spec("torch")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("torch is not installed")
    return Path(found.origin).parent


if __name__ == "__main__":
    print(build() or why_not())  # noqa: T201  a command
