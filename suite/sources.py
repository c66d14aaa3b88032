"""Where cases come from: the built-in ones, installed distributions, and files of one's own."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path

from cases.case import Case, cases
from cases.threads import PREFIX, Thread, threads
from suite.errors import UsageError, one_line
from suite.registry import Registry

ENTRY_POINTS = "gradsuite.cases"


def load(files: Sequence[str | Path] = ()) -> Registry[Case]:
    """All cases: built in, from the entry-point group `gradsuite.cases`, and from `files`.

    Args:
        files: Python files, or names of importable modules, that register cases when they are run.

    Raises:
        UsageError: A file does not exist, fails, or registers nothing.
    """
    importlib.import_module("cases")
    for entry in entry_points(group=ENTRY_POINTS):
        _attempt(f"entry point {entry.name!r} ({entry.value})", entry.load)
    for file in files:
        _load_file(str(file))
    return cases


def choose(patterns: Sequence[str] = (), files: Sequence[str | Path] = ()) -> tuple[list[Case], list[Thread]]:
    """The cases and the threads whose names match any of the glob `patterns`.

    Without patterns these are all cases and no thread: threads are asked for (`threads/*`).

    Raises:
        UsageError: A pattern matches nothing; or see `load`.
    """
    found = load(files)
    claimed = [pattern for pattern in patterns if pattern.startswith(PREFIX)]
    others = [pattern for pattern in patterns if not pattern.startswith(PREFIX)]
    return (
        found.match(others) if others or not claimed else [],
        threads.match(claimed) if claimed else [],
    )


def _load_file(given: str) -> None:
    path = Path(given)
    if path.suffix != ".py":
        _attempt(f"module {given!r}", lambda: importlib.import_module(given))
        return
    if not os.path.isfile(path):  # noqa: PTH113  a name that is too long is no file either
        raise UsageError(f"no case file {given!r}: give a Python file or an importable module")
    name = f"gradsuite_cases_{path.resolve().as_posix().replace('/', '_')[:-3]}"
    if name in sys.modules:  # asked for twice in one process
        return
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # noqa: S101, PT018  its suffix is .py
    load = spec.loader.exec_module
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    before = len(cases)
    try:
        _attempt(f"case file {given!r}", lambda: load(module))
    except UsageError:
        del sys.modules[name]
        raise
    if len(cases) == before:
        raise UsageError(
            f"case file {given!r} registers no case: decorate a function with @case from cases.case"
        )


def _attempt(what: str, action: Callable[[], object]) -> None:
    try:
        action()
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(f"{what} failed: {one_line(error)}") from error
