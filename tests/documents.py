"""What commands print, in README.md and docs/: found there, and written anew.

`python -m tests.documents` runs each command of a `console` block and puts its output under it, and puts
the tables of results/reference/cpu where a document shows what `gradsuite run` prints.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_LINES = r"(?P<printed>(?:(?!```).*\n)*)"
CONSOLE = re.compile(rf"```console\n\$ gradsuite (?P<command>.*)\n{_LINES}```")
RUN = re.compile(rf"<!-- printed by `gradsuite run` -->\n\n```text\n{_LINES}```")

LAST = "Records and tables: results/2026-11-21T162514Z\n"
"""The last line of a run names its folder."""


def printed(command: str) -> str:
    """What `gradsuite COMMAND` prints.

    Raises:
        CalledProcessError: It does not end in 0.
    """
    words = [sys.executable, "-m", "suite", *shlex.split(command)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def printed_by_run() -> str:
    """What the run of results/reference/cpu printed, without its last line: the name of a folder."""
    from suite.report.load import load_run

    result = load_run(ROOT / "results" / "reference" / "cpu")
    return "\n".join([str(result), "", *result.remarks, ""])


def rewrite(text: str) -> str:
    """A document with what its commands print now."""
    text = CONSOLE.sub(lambda m: _with(m, printed(m["command"])), text)
    return RUN.sub(lambda m: _with(m, printed_by_run() + LAST), text)


def _with(found: re.Match[str], output: str) -> str:
    start, end = found.start("printed") - found.start(), found.end("printed") - found.start()
    return found[0][:start] + output + found[0][end:]


if __name__ == "__main__":
    for document in DOCUMENTS:
        document.write_text(rewrite(document.read_text(encoding="utf-8")), encoding="utf-8")
