"""Where cases come from."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from suite import discovery as sources
from suite.errors import UsageError


def fail() -> None:
    raise ImportError("no module of mine")


def test_an_installed_distribution_registers_its_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    entry = SimpleNamespace(name="mine", value="mine.cases", load=lambda: loaded.append("mine"))
    monkeypatch.setattr(sources, "entry_points", lambda group: [entry] if group == "gradsuite.cases" else [])
    sources.load()
    assert loaded == ["mine"]


def test_a_distribution_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = SimpleNamespace(name="mine", value="mine.cases", load=fail)
    monkeypatch.setattr(sources, "entry_points", lambda group: [entry])
    with pytest.raises(UsageError, match=r"entry point 'mine' \(mine.cases\) failed: .*no module of mine"):
        sources.load()


def test_cases_are_loaded_from_a_module_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "module_of_cases.py").write_text("loaded = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    sources.load(["module_of_cases"])
    assert sys.modules.pop("module_of_cases").loaded
    with pytest.raises(UsageError, match="module 'no_such_module_of_cases' failed"):
        sources.load(["no_such_module_of_cases"])
