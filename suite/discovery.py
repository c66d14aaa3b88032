"""Where cases, claims and cards come from: installed distributions, and files of one's own.

The built-in ones come in the same way as everybody else's: a distribution names its modules in the
entry-point groups `gradsuite.cases`, `gradsuite.claims` and `gradsuite.papers`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from suite.case import Case, cases
from suite.claim import PREFIX, STEP_PREFIX, ClaimSource, claim_sources, current_name
from suite.errors import UsageError, one_line
from suite.registry import Registry

CASE_GROUP, CLAIM_GROUP, PAPER_GROUP = "gradsuite.cases", "gradsuite.claims", "gradsuite.papers"
TREE = Path(__file__).parent.parent


def load_cases(files: Sequence[str | Path] = ()) -> Registry[Case]:
    """All cases: from the entry-point group `gradsuite.cases`, the built-in ones first, and from `files`.

    Args:
        files: Python files, or names of importable modules, that register cases when they are run.

    Raises:
        UsageError: A file does not exist, fails, or registers nothing.
    """
    _import_all(CASE_GROUP)
    if not len(cases):
        raise UsageError(
            f"{TREE / 'cases'} registers no case: another distribution overwrote it; install gradsuite "
            "again, in a virtual environment without that one"
        )
    for file in files:
        _load_file(str(file))
    return cases


def load_claims() -> Registry[ClaimSource]:
    """All sources of claims, from the entry-point group `gradsuite.claims`."""
    _import_all(CLAIM_GROUP)
    return claim_sources


def card_folders() -> tuple[Path, ...]:
    """The folders with papers' cards: of the packages in the entry-point group `gradsuite.papers`.

    Nothing is imported but the packages that hold these packages.

    Raises:
        UsageError: A package cannot be found.
    """
    folders: list[Path] = []
    for name, package in _declared(PAPER_GROUP).items():
        spec = None
        try:
            spec = importlib.util.find_spec(package)
        except ImportError as error:
            raise UsageError(f"entry point {name!r} ({package}) failed: {one_line(error)}") from error
        if spec is None or spec.submodule_search_locations is None:
            raise UsageError(f"entry point {name!r} ({package}) of {PAPER_GROUP} is no package with cards")
        folders += map(Path, spec.submodule_search_locations)
    return tuple(folders)


def choose(
    patterns: Sequence[str] = (), files: Sequence[str | Path] = ()
) -> tuple[list[Case], list[ClaimSource]]:
    """The cases and the sources of claims whose names match any of the glob `patterns`.

    Without patterns these are all cases and no claims: claims are asked for (`claims/*`, `papers/*`).

    Raises:
        UsageError: A pattern matches nothing; or see `load`.
    """
    found, sources = load_cases(files), load_claims()
    patterns = [current_name(pattern) for pattern in patterns]
    claimed = [pattern for pattern in patterns if pattern.startswith((PREFIX, STEP_PREFIX))]
    others = [pattern for pattern in patterns if not pattern.startswith((PREFIX, STEP_PREFIX))]
    return (
        found.match(others) if others or not claimed else [],
        sources.match(_with_variants(claimed, sources.names)) if claimed else [],
    )


def _with_variants(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The patterns, with the names of the papers' variants that they match: `papers/*` means all of them."""
    variants = [name for name in names if name.startswith(STEP_PREFIX) and ":" in name]
    return [*patterns, *(name for name in variants if any(fnmatchcase(name, p) for p in patterns))]


def _import_all(group: str) -> None:
    """Import what distributions declare in `group`; what is imported registers itself."""
    for name, module in _declared(group).items():
        _attempt(f"entry point {name!r} ({module})", lambda m=module: importlib.import_module(m))  # type: ignore[misc]


def _declared(group: str) -> dict[str, str]:
    """The modules in an entry-point group by the names that they are declared under, gradsuite's own first.

    In a source tree its `pyproject.toml` counts before what is installed, so that `python -m suite`
    finds the built-in cases of a tree that is not installed.
    """
    own: dict[str, str] = {}
    pyproject = TREE / "pyproject.toml"
    if pyproject.is_file():
        project = tomllib.loads(pyproject.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == "gradsuite":
            own = dict(project.get("entry-points", {}).get(group, {}))
    others: dict[str, str] = {}
    for entry in entry_points(group=group):
        ours = entry.dist is not None and entry.dist.name == "gradsuite"
        if not ours:
            others[entry.name] = entry.value
        elif not own or entry.name not in own:
            own[entry.name] = entry.value
    if not own:
        raise UsageError(
            f"gradsuite's own {group.partition('.')[2]} are not found: install it (`pip install .` in its "
            "source tree), or run from the tree"
        )
    for module in own.values():
        _require_ours(module.partition(".")[0])
    return own | others


def _require_ours(package: str) -> None:
    """Make sure that Python finds gradsuite's package of this name, which lies beside `suite`.

    Raises:
        UsageError: Another one hides it.
    """
    ours = Path(__file__).parents[1] / package / "__init__.py"
    spec = importlib.util.find_spec(package)
    found = None if spec is None else spec.origin
    if found is None or Path(found).resolve() != ours.resolve():
        if found is None:
            raise UsageError(f"gradsuite's package {package!r} is missing: install gradsuite again")
        raise UsageError(
            f"gradsuite's package {package!r} is hidden by {found}: rename that one, or start Python where "
            "it is not on sys.path (the command `gradsuite` works beside it)"
        )


def _load_file(given: str) -> None:
    path = Path(given)
    if path.suffix != ".py":
        _load_module(given)
        return
    shown = _from_here(path)
    if not os.path.isfile(path):  # noqa: PTH113  a name that is too long is no file either
        raise UsageError(f"no case file {shown!r}: give a Python file or an importable module")
    name = f"gradsuite_cases_{path.resolve().as_posix().replace('/', '_')[:-3]}"
    if name in sys.modules:  # asked for twice in one process
        return
    before = len(cases)
    _attempt(f"case file {shown!r}", lambda: _run_file(path, name))
    if len(cases) == before:
        raise UsageError(
            f"case file {shown!r} registers no case: decorate a function with @case from suite.case"
        )


_modules: set[str] = set()
"""Modules by whose import cases were registered."""


def _load_module(name: str) -> None:
    """Import a module that registers cases.

    Raises:
        UsageError: It is a folder or another file; or it fails, or registers nothing.
    """
    if os.path.exists(name) and not all(part.isidentifier() for part in name.split(".")):  # noqa: PTH110
        what = "a folder" if os.path.isdir(name) else "no Python file"  # noqa: PTH112
        raise UsageError(f"{name!r} is {what}: give a Python file, NAME.py, or an importable module")
    before = len(cases)
    _attempt(f"module {name!r}", lambda: importlib.import_module(name))
    if len(cases) > before:
        _modules.add(name)
    elif name not in _modules:
        raise UsageError(f"module {name!r} registers no case: decorate a function with @case from suite.case")


def _from_here(path: Path) -> str:
    """The path as it is, or from this folder where it lies inside: as it was given, mostly."""
    with suppress(OSError, ValueError):  # the folder is gone, or another
        return str(path.relative_to(Path.cwd()))
    return str(path)


_scripts: dict[str, str] = {}
"""The folders of Python files that were loaded, by the name of the module."""


def load_python(path: Path, wanted: str) -> ModuleType:
    """A Python file as a module; it finds modules that lie beside it, as a script does.

    Processes that it starts find it under its own name, unless something else has that name. Its folder
    stays at the end of the path: they look there, and so does what it imports later.

    Args:
        path: of the file.
        wanted: what could have been given in its place, for the message.

    Raises:
        UsageError: There is no such file, or it fails.
    """
    if path.suffix != ".py" or not os.path.isfile(path):  # noqa: PTH113  a name that is too long is none
        raise UsageError(f"no Python file {str(path)!r}: give PATH.py, or {wanted}")
    name, folder = _script_name(path), str(path.parent.resolve())
    try:
        module = _run_file(path, name)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{path} failed: {one_line(error)}{_advice(error)}") from error
    before = _scripts.get(name)
    if before != folder and before in sys.path:
        sys.path.remove(before)
    _scripts[name] = folder
    return module


def _run_file(path: Path, name: str) -> ModuleType:
    """A Python file, run as the module `name`; one that fails is no module."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # noqa: S101, PT018  its suffix is .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _beside(path):
            spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _script_name(path: Path) -> str:
    """The name of a file's module: its own, if nothing else that can be imported has it."""
    name = path.stem
    if name in _scripts:
        return name
    try:
        other = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # a name with dots
        return f"gradsuite_file_{name}"
    if name not in sys.modules and (other is None or _is_file(other.origin, path)):
        return name
    return f"gradsuite_file_{name}"


def _is_file(origin: str | None, path: Path) -> bool:
    """Whether a module is this very file: `python -m` looks in the folder that it was started in."""
    return origin is not None and Path(origin).resolve() == path.resolve()


@contextmanager
def _beside(path: Path) -> Iterator[None]:
    """Inside, a file finds the modules beside it, as a script does; functions of it do so later, too.

    Later they are found last, so that they hide nobody else's.
    """
    folder, words = str(path.parent.resolve()), sys.argv
    sys.path.insert(0, folder)
    sys.argv = [str(path)]  # a script that reads its command line finds none, and takes its defaults
    try:
        yield
    finally:
        sys.argv = words
        with suppress(ValueError):  # the file may have changed the path
            sys.path.remove(folder)
        if folder not in sys.path:
            sys.path.append(folder)


def _attempt(what: str, action: Callable[[], object]) -> None:
    try:
        action()
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(f"{what} failed: {one_line(error)}{_advice(error)}") from error


def _advice(error: BaseException) -> str:
    if not isinstance(error, SystemExit):
        return ""
    return "; what trains or reads a command line belongs under `if __name__ == '__main__':`"
