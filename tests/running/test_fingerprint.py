"""The digest of code changes with what a module imports, and with nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from suite.running.fingerprint import digest, source_file

MODULES = {
    "digested_a.py": "from __future__ import annotations\nimport json\nfrom digested_b import f\n",
    "digested_b.py": "def f():\n    from digested_c import x\n    return x\n",
    "digested_c.py": "x = 1\n",
    "digested_d.py": "y = 1\n",
}


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in MODULES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["digested_a", "digested_b", "digested_c"])
def test_it_changes_with_each_module_that_is_imported_however_late(modules: Path, name: str) -> None:
    before = digest(["digested_a"])
    assert digest(["digested_a"]) == before
    (modules / f"{name}.py").write_text(MODULES[f"{name}.py"] + "# changed\n")
    assert digest(["digested_a"]) != before


def test_it_does_not_change_with_others_or_with_those_left_out(modules: Path) -> None:
    before = digest(["digested_a"]), digest(["digested_a"], without=frozenset({"digested_c"}))
    (modules / "digested_d.py").write_text("y = 2\n")
    assert digest(["digested_a"]) == before[0]
    (modules / "digested_c.py").write_text("x = 2\n")
    assert digest(["digested_a"], without=frozenset({"digested_c"})) == before[1]


def test_what_only_annotations_need_does_not_count(modules: Path) -> None:
    guarded = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import digested_d\n"
    (modules / "digested_c.py").write_text(guarded)
    before = digest(["digested_a"])
    (modules / "digested_d.py").write_text("y = 2\n")
    assert digest(["digested_a"]) == before


def test_a_module_of_a_package_that_is_imported_when_it_is_asked_for_counts(modules: Path) -> None:
    package = modules / "digested_package"
    package.mkdir()
    (package / "__init__.py").write_text("def __getattr__(name): ...\n")
    (package / "late.py").write_text("x = 1\n")
    (modules / "digested_c.py").write_text("import digested_package as p\nx = p.late.x\n")
    before = digest(["digested_a"])
    (package / "late.py").write_text("x = 2\n")
    assert digest(["digested_a"]) != before


@pytest.mark.parametrize("module", ["cases.models", "cases.data", "cases.losses"])
def test_what_the_cases_are_made_of_counts(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(["cases.regression"])
    changed, read = source_file(module), Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + b"#" * (path == changed))
    assert digest(["cases.regression"]) != before


def test_a_module_that_cannot_be_parsed_counts_by_its_bytes(modules: Path) -> None:
    (modules / "digested_c.py").write_text("x = (")
    before = digest(["digested_a"])
    (modules / "digested_c.py").write_text("x = ((")
    assert digest(["digested_a"]) != before


def test_installed_packages_are_not_followed() -> None:
    assert source_file("json") is not None
    assert "torch" in sys.modules
    assert digest(["suite.algebra.gram"]) == digest(
        ["suite.algebra.gram", "suite.algebra.units", "suite.errors"]
    )


def test_what_is_no_name_of_a_module_has_no_source() -> None:
    assert source_file("") is None
