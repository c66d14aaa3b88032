"""One seed draws one series of examples, in a checkout and where the suite is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOW = """
import hashlib
from pathlib import Path
from hypothesis import given, strategies as st
from suite.fuzz import Target
from suite.fuzz import search
from suite.fuzz.examples import Budget
from suite.strategies import units
from suite.strategies.profiles import load_profile
from suite.strategies.tables import source
import suite

drawn = []
kinds = st.tuples(units().map(source), st.integers(), st.text(), st.floats(), st.binary(max_size=14))


def keep(example):
    drawn.append(example)


search(Target("all", "none", kinds, keep, str), Budget(examples=100), seed=3)
load_profile("ci")
given(kinds)(keep)()
assert {"a": Path.cwd() / "a", "b": Path.cwd() / "site-packages"}[LETTER] in Path(suite.__file__).parents
print(len(drawn), hashlib.sha256(repr(drawn).encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("two")
    found = {}
    for letter, place in {"a": "a", "b": "site-packages"}.items():
        for name in ("suite", "cases"):
            shutil.copytree(ROOT / name, folder / place / name, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "show.py").write_text(f"LETTER = {letter!r}\n{SHOW}")
        environment = os.environ | {"PYTHONPATH": str(folder / place), "PYTHONHASHSEED": str(ord(letter))}
        command = [sys.executable, "show.py"]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        found[letter] = done.stdout
    return found


def test_the_same_seed_and_the_ci_profile_draw_the_same_in_two_places(shown: dict[str, str]) -> None:
    assert shown["a"] == shown["b"]
    assert shown["a"].startswith("150 ")
