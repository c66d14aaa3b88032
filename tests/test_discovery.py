"""Where cases come from."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from suite import discovery
from suite.case import cases
from suite.discovery import load_python
from suite.errors import UsageError


def entry(name: str, value: str, distribution: str = "theirs") -> SimpleNamespace:
    return SimpleNamespace(name=name, value=value, dist=SimpleNamespace(name=distribution))


def test_an_installed_distribution_registers_its_cases(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "their_cases.py").write_text("loaded = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(discovery, "entry_points", lambda group: [entry("mine", "their_cases")])
    discovery.load_cases()
    assert sys.modules.pop("their_cases").loaded


def test_a_distribution_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "entry_points", lambda group: [entry("mine", "no_such_cases")])
    with pytest.raises(UsageError, match=r"entry point 'mine' \(no_such_cases\) failed: .*no_such_cases"):
        discovery.load_cases()


def test_the_built_in_cases_of_a_tree_need_no_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "entry_points", lambda group: [])
    assert "mse" in discovery.load_cases()
    assert "claims/sum-or-average" in discovery.load_claims()
    assert [path.name for path in discovery.card_folders()] == ["papers"]


def test_without_tree_and_installation_the_built_in_cases_are_missed_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(discovery, "entry_points", lambda group: [])
    monkeypatch.setattr(discovery, "TREE", tmp_path)
    with pytest.raises(UsageError, match="own cases are not found: install it"):
        discovery.load_cases()


def test_the_built_in_cases_come_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = [entry("mine", "json"), entry("built-in", "cases", "gradsuite")]
    monkeypatch.setattr(discovery, "entry_points", lambda group: found)
    monkeypatch.setattr(discovery, "TREE", tmp_path)
    assert list(discovery._declared(discovery.CASE_GROUP).values()) == ["cases", "json"]


def test_a_package_without_cards_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "entry_points", lambda group: [entry("mine", "json.decoder")])
    with pytest.raises(UsageError, match=r"'mine' \(json.decoder\) of gradsuite.papers is no package"):
        discovery.card_folders()


def test_claims_are_found_under_their_former_names() -> None:
    assert discovery.choose(["threads/*"]) == discovery.choose(["claims/*"])
    assert discovery.choose(["claims/*"])[1]


def test_cases_are_loaded_from_a_module_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = "from suite.case import case\n@case(dataset='d')\ndef of_a_module(): ...\n"
    (tmp_path / "module_of_cases.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(2):
        assert "of-a-module" in discovery.load_cases(["module_of_cases"])
    cases.remove("of-a-module")
    del sys.modules["module_of_cases"]
    with pytest.raises(UsageError, match="module 'no_such_module_of_cases' failed"):
        discovery.load_cases(["no_such_module_of_cases"])


def test_a_script_in_the_folder_that_python_was_started_in_keeps_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """So that the processes which it spawns find it: `python -m` puts that folder first on the path."""
    path = tmp_path / "spawns_processes.py"
    path.write_text("answer = 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert load_python(path, "a step").__name__ == "spawns_processes"
    other = tmp_path / "below" / "fractions.py"
    other.parent.mkdir()
    other.write_text("answer = 42\n")
    assert load_python(other, "a step").__name__ == "gradsuite_file_fractions"
