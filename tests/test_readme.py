"""What the README shows is what its commands print."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONSOLE = re.findall(r"```console\n\$ gradsuite (.*)\n((?:.*\n)*?)```", README)


def _without_rounding(text: str) -> str:
    """Numbers below 1e-12 are rounding, which differs between machines."""
    return re.sub(r"\d(\.\d+)?e-1[2-9]", "ROUNDING", text)


@pytest.mark.parametrize(("command", "printed"), CONSOLE, ids=[command for command, _ in CONSOLE])
def test_a_command_prints_what_the_readme_shows(command: str, printed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "suite", *shlex.split(command)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert _without_rounding(done.stdout) == _without_rounding(printed)
    assert done.returncode == 0


def test_there_are_commands_with_output() -> None:
    assert len(CONSOLE) >= 3


def test_quoted_code_is_the_examples() -> None:
    quoted = re.findall(r"<!-- (\S+\.py) -->\n\n```python\n((?:.*\n)*?)```", README)
    assert quoted
    for path, code in quoted:
        assert code in (ROOT / path).read_text(encoding="utf-8")


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
