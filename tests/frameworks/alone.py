"""Code of installed packages without what its modules import, which takes gigabytes and is not used."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

MISSING = "{} is not installed: the tox environment `frameworks` has it"


def without_its_imports(package: str | Path, path: str, name: str, **known: object) -> Any:
    """A function, a class or a `Class.method` of an installed package, compiled alone.

    Args:
        package: as it is imported, or its folder.
        path: of the file inside the package.
        name: of what is wanted.
        **known: the names that it uses.
    """
    return _compiled(_found(package, path, name), known)


def class_without_its_imports(
    package: str | Path, path: str, name: str, methods: Sequence[str], base: type = object, **known: object
) -> Any:
    """A class of an installed package with some of its methods, on another base.

    Args:
        package: as it is imported, or its folder.
        path: of the file inside the package.
        name: of the class.
        methods: that it keeps, as they are written.
        base: in place of its own.
        **known: the names that they use.
    """
    found = _found(package, path, name)
    kept = [node for node in found.body if getattr(node, "name", "") in methods]
    assert len(kept) == len(methods)
    for method in kept:
        method.decorator_list = [d for d in method.decorator_list if ast.unparse(d) == "staticmethod"]
    found.bases, found.keywords, found.decorator_list, found.body = [ast.Name("_base")], [], [], kept
    return _compiled(found, known | {"_base": base})


def methods_of(package: str, path: str, name: str) -> list[str]:
    """The names of all methods of a class."""
    return [node.name for node in _found(package, path, name).body if isinstance(node, ast.FunctionDef)]


def older(package: str) -> Path:
    """The folder of a package that is too old to be imported, or the test is skipped."""
    folder = Path(sys.prefix) / "older" / package
    if not folder.is_dir():
        pytest.skip(MISSING.format(f"an older {package}"))
    return folder


def _found(package: str | Path, path: str, name: str) -> Any:
    """The definition of a function, a class or a `Class.method`."""
    if isinstance(package, str):
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            pytest.skip(MISSING.format(package))
        package = Path(spec.submodule_search_locations[0])
    body = ast.parse((package / path).read_text("utf-8")).body
    for part in name.split("."):
        (found,) = [node for node in body if getattr(node, "name", "") == part]
        body = getattr(found, "body", [])
    return found


def _compiled(definition: Any, known: Mapping[str, object]) -> Any:
    names = {"torch": torch, "nn": torch.nn, **known}
    annotated = ast.unparse(ast.Module([definition], []))
    exec(f"from __future__ import annotations\nfrom typing import *\n{annotated}", names)  # noqa: S102
    return names[definition.name]


def package_or_skip(name: str) -> Any:
    """The module, or the test is skipped."""
    return pytest.importorskip(name, reason=MISSING.format(name.partition(".")[0]))
