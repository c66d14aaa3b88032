"""The house: a public name has one home, so that its name finds it."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

INTERFACES = {
    "suite.cli": {"EPILOG", "configure", "execute"},
    "suite.engines": {"compute"},
    "suite.figures": {"draw"},
}
"""What each command, each engine and each figure defines, so that its room can use them all alike."""


def public_names(tree: ast.Module) -> Iterator[str]:
    """The classes, functions and constants without an underscore that a module defines at its top."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_"))


def homes(root: Path) -> dict[str, list[str]]:
    """The modules that define each public name, interfaces aside."""
    found = defaultdict(list)
    for path in sorted((root / "suite").rglob("*.py")):
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        shared = {n for room, names in INTERFACES.items() if module.startswith(f"{room}.") for n in names}
        for name in dict.fromkeys(public_names(ast.parse(path.read_text(encoding="utf-8")))):
            if name not in shared:
                found[name].append(module)
    return found


def test_there_are_few_modules_at_the_top_and_few_rooms() -> None:
    rooms = {path.parent for package in ("suite", "cases") for path in (ROOT / package).rglob("*.py")}
    assert len(list((ROOT / "suite").glob("*.py"))) <= 8
    assert len(rooms) <= 28


def test_a_public_name_is_defined_in_one_module() -> None:
    twice = {name: modules for name, modules in homes(ROOT).items() if len(modules) > 1}
    assert twice == {}


def test_a_name_with_two_homes_is_found(tmp_path: Path) -> None:
    for room, text in {
        "algebra": "class Twice: ...\nTOTAL, _HIDDEN = 1, 2\ndef draw(): ...\n",
        "figures": "def draw(): ...\nTwice: int = 1\nfrom suite.algebra import TOTAL\n_HIDDEN = 3\n",
        "cli": "def configure(): ...\nasync def TOTAL(): ...\n",
    }.items():
        (tmp_path / "suite" / room).mkdir(parents=True)
        (tmp_path / "suite" / room / "made_up.py").write_text(text)
    found = homes(tmp_path)
    assert found["Twice"] == ["suite.algebra.made_up", "suite.figures.made_up"]
    assert found["TOTAL"] == ["suite.algebra.made_up", "suite.cli.made_up"]
    assert found["draw"] == ["suite.algebra.made_up"]
    assert "_HIDDEN" not in found
    assert "configure" not in found


def test_the_tests_that_are_listed_for_gpus_are_there() -> None:
    tests = ROOT / "tests"
    there = {
        path: set(re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))
        for path in tests.rglob("test_*.py")
    }
    table = (tests / "pretend_cuda" / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`(test_\w+)`", table))
    assert listed - set().union(*there.values()) == set()
    assert len(listed) > 20
