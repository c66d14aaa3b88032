"""Code of installed packages without what its modules import, which takes gigabytes and is not used."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

MISSING = "{} is not installed: the tox environment `frameworks` has it"


def without_its_imports(package: str, path: str, name: str, **known: object) -> Any:
    """A function, a class or a `Class.method` of an installed package, compiled alone.

    Args:
        package: as it is imported.
        path: of the file inside the package.
        name: of what is wanted.
        **known: the names that it uses.
    """
    spec = find_spec(package)
    if spec is None:
        pytest.skip(MISSING.format(package))
    body = ast.parse((Path(spec.origin or "").parent / path).read_text("utf-8")).body
    for part in name.split("."):
        (found,) = [node for node in body if getattr(node, "name", "") == part]
        body = getattr(found, "body", [])
    names = {"torch": torch, "nn": torch.nn, **known}
    annotated = ast.unparse(ast.Module([found], []))
    exec(f"from __future__ import annotations\nfrom typing import *\n{annotated}", names)  # noqa: S102
    return names[found.name]


def package_or_skip(name: str) -> Any:
    """The module, or the test is skipped."""
    return pytest.importorskip(name, reason=MISSING.format(name.partition(".")[0]))
