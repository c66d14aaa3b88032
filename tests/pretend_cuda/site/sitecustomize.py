"""Python imports this first where this folder is on PYTHONPATH: the pretend device is there before torch."""

import importlib.util
import os
import sys
from pathlib import Path

if os.environ.get("PRETEND_CUDA_DEVICES"):
    here = Path(__file__).parents[1]
    modules = {}
    for name in ("build", "device"):
        spec = importlib.util.spec_from_file_location(f"_pretend_cuda_{name}", here / f"{name}.py")
        modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(modules[name])
    library = modules["build"].library()
    if library.exists() and "torch" not in sys.modules:
        modules["device"].load(library)
