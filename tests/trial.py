"""Additions to a copy of the suite: what is made up must be known to all, or a test must miss it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]

Changes = Mapping[str, Sequence[tuple[str, str]]]
"""By file: what is written before which text; at the end of the file before the empty one."""


def planted(folder: Path, changes: Changes) -> Path:
    """A copy of the suite, its cases and its tests in `folder`, with these changes."""
    for name in ("suite", "cases", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for path, additions in changes.items():
        file = folder / path
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        for before, new in additions:
            if not before:
                text += new
                continue
            assert text.count(before) == 1, before
            text = text.replace(before, new + before)
        file.write_text(text, encoding="utf-8")
    return folder


def told(folder: Path, *arguments: str, fails: bool = False) -> str:
    """What Python prints with these arguments in the copy."""
    environment = os.environ | {"PYTHONPATH": str(folder), "HYPOTHESIS_PROFILE": "dev"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout
