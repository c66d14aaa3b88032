"""The code that a result depends on: digests of the sources of modules and of all that they import.

Read from the files, not from what was imported, so that a result can be told stale before anything
is measured. Followed are the suite, its cases, the package of a case from elsewhere, and what lies
beside a case file; of everything else, versions are recorded instead.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

OURS = ("suite", "cases")


def digest(roots: Iterable[str], *, without: frozenset[str] = frozenset()) -> str:
    """The digest of the modules `roots` and of what they import, except the modules `without`."""
    found: dict[str, str] = {}
    waiting = sorted(roots)
    followed = dict.fromkeys((*OURS, *(name.partition(".")[0] for name in waiting)), True)
    beside = {path.parent for name in waiting if "." not in name and (path := source_file(name)) is not None}
    beside = {folder for folder in beside if folder.name not in ("site-packages", "dist-packages")}
    while waiting:
        name = waiting.pop()
        top = name.partition(".")[0]
        if top not in followed:
            path = None if top in sys.stdlib_module_names else source_file(top)
            followed[top] = path is not None and bool(beside & set(path.parents[:2]))
        if name in found or name in without or not followed[top]:
            continue
        path = source_file(name)
        if path is not None:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
            waiting.extend(_imports(name, path))
    return hashlib.sha256("\n".join(f"{k} {found[k]}" for k in sorted(found)).encode()).hexdigest()[:16]


def source_file(module: str) -> Path | None:
    """The file of a module's source; None where it has none. Nothing is imported to find it."""
    loaded = sys.modules.get(module)
    parent, _, name = module.rpartition(".")
    if loaded is not None:
        found = [Path(getattr(loaded, "__file__", None) or "")]
    elif parent:
        package = source_file(parent)
        inside = package is not None and package.name == "__init__.py"
        found = (
            [package.parent / f"{name}.py", package.parent / name / "__init__.py"]
            if package and inside
            else []
        )
    else:
        try:
            spec = find_spec(module)
        except (ImportError, ValueError):
            return None
        found = [Path(spec.origin)] if spec and spec.origin else []
    return next((path for path in found if path.suffix == ".py" and path.is_file()), None)


def _imports(module: str, path: Path) -> tuple[str, ...]:
    """The modules that `module` imports anywhere, except those that only annotations need."""
    return tuple(_read_imports(module, path, path.stat().st_mtime_ns))


@cache
def _read_imports(module: str, path: Path, changed: int) -> list[str]:  # noqa: ARG001  the cache's key
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    try:
        waiting: list[ast.AST] = [ast.parse(path.read_bytes())]
    except SyntaxError:
        return []
    found: list[str] = []
    named: dict[str, str] = {}
    attributes: list[tuple[str, str]] = []
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
            named |= {a.asname or a.name: a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, package)
            found += (base, *(f"{base}.{alias.name}" for alias in node.names))
            named |= {alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            attributes.append((node.value.id, node.attr))
        elif isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            waiting.extend(node.orelse)
            continue
        waiting.extend(ast.iter_child_nodes(node))
    # `package.module` may be imported when it is first asked for: see `cases`.
    return found + [f"{named[name]}.{attribute}" for name, attribute in attributes if name in named]


def _base(node: ast.ImportFrom, package: str) -> str:
    """The module that something is imported from."""
    above = package.split(".")
    parents = above[: len(above) - node.level + 1] if node.level else []
    return ".".join([*parents, *([node.module] if node.module else [])])
