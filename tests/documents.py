"""What commands print, in README.md and docs/: found there, and written anew.

`python -m tests.documents` runs each command of a `console` block and puts its output under it, and puts
the tables of results/reference/cpu where a document shows what `gradsuite run` prints. A tutorial is done
from its beginning in a folder of its own: files that it shows are written, and what it says is run. Output
that a document does not show is `…`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
_LINES = r"(?P<printed>(?:(?!```).*\n)*)"
CONSOLE = re.compile(rf"```console\n\$ gradsuite (?P<command>.*)\n{_LINES}```")
RUN = re.compile(rf"<!-- printed by `gradsuite run` -->\n\n```text\n{_LINES}```")

BLOCK = re.compile(rf'```(?P<kind>\w+)(?: title="(?P<file>[\w.]+)")?\n{_LINES}```')
ELIDED = "…\n"
"""Stands for output that is not shown."""

LAST = "Records and tables: results/2026-11-21T162514Z\n"
"""The last line of a run names its folder."""


def printed(command: str) -> str:
    """What `gradsuite COMMAND` prints.

    Raises:
        CalledProcessError: It does not end in 0.
    """
    words = [sys.executable, "-m", "suite", *shlex.split(command)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def steps(tutorial: str) -> Iterator[tuple[str, str, str]]:
    """Do a tutorial: each command of it, what is shown of its output, and what it printed.

    Raises:
        CalledProcessError: A command does not end in 0.
    """
    program = [sys.executable, "-m"]
    words = {"gradsuite": [*program, "suite"], "pytest": [*program, "pytest"], "python": [sys.executable]}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as folder:
        for block in BLOCK.finditer(tutorial):
            if block["file"]:
                (Path(folder) / block["file"]).write_text(block["printed"], encoding="utf-8")
            if block["kind"] in ("console", "sh"):
                command, _, shown = block["printed"].partition("\n")
                first, *others = shlex.split(command.removeprefix("$ "))
            elif block["kind"] == "python" and not block["file"]:
                command, shown, first, others = "python", "", "python", ["-c", block["printed"]]
            else:
                continue
            given, environment = [*words[first], *others], {**os.environ, "PYTHONPATH": path}
            done = subprocess.run(
                given, cwd=folder, env=environment, capture_output=True, text=True, check=True
            )
            yield command.removeprefix("$ "), shown, done.stdout


def printed_by_run() -> str:
    """What the run of results/reference/cpu printed, without its last line: the name of a folder."""
    from suite.report.load import load_run

    result = load_run(ROOT / "results" / "reference" / "cpu")
    return "\n".join([str(result), "", *result.remarks, ""])


def rewrite(text: str) -> str:
    """A document with what its commands print now."""
    text = CONSOLE.sub(lambda m: _with(m, printed(m["command"])), text)
    return RUN.sub(lambda m: _with(m, printed_by_run() + LAST), text)


def rewrite_tutorial(text: str) -> str:
    """A tutorial with what its commands print now, where it shows that."""
    for command, shown, output in steps(text):
        if shown and not shown.endswith(ELIDED):
            text = text.replace(f"$ {command}\n{shown}```", f"$ {command}\n{output}```")
    return text


def _with(found: re.Match[str], output: str) -> str:
    start, end = found.start("printed") - found.start(), found.end("printed") - found.start()
    return found[0][:start] + output + found[0][end:]


if __name__ == "__main__":
    for document in DOCUMENTS:
        document.write_text(rewrite(document.read_text(encoding="utf-8")), encoding="utf-8")
    for document in TUTORIALS:
        document.write_text(rewrite_tutorial(document.read_text(encoding="utf-8")), encoding="utf-8")
