"""The ci profile draws one series of examples, whatever is imported beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHOW = """
import hashlib, sys
from hypothesis import given, strategies as st
from suite.strategies import units
from suite.strategies.profiles import load_profile
from suite.strategies.tables import source
from tests.constants import leave_constants_out

sys.path.insert(0, sys.argv[1])
import neighbour

load_profile("ci")
leave_constants_out()
drawn = []


@given(st.tuples(units().map(source), st.integers(), st.text(), st.floats(), st.binary(max_size=14)))
def keep(example):
    drawn.append(example)


keep()
print(len(drawn), neighbour.NUMBER in [number for _, number, *_ in drawn])
print(hashlib.sha256(repr(drawn).encode()).hexdigest())
"""


def shown(folder: Path, number: int) -> list[str]:
    folder.mkdir()
    (folder / "neighbour.py").write_text(f"NUMBER = {number}\nTEXT = 'text {number}'\n")
    (folder / "show.py").write_text(SHOW)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(number % 1000)}
    command = [sys.executable, str(folder / "show.py"), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_ci_profile_draws_the_same_beside_other_modules(tmp_path: Path) -> None:
    first, other = shown(tmp_path / "a", 918273645), shown(tmp_path / "b", 192837465)
    assert first[0] == other[0] == "50 False"
    assert first[1] == other[1]
