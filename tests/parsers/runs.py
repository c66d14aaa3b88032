"""A record whose digests are right and whose rows are not: what the commands make of it."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from suite.records.fields import SCHEMA, Row
from suite.records.file import FILE
from tests.parsers.mutations import changed_tree
from tests.parsers.parser import Parser, run
from tests.report.rows import hostile, row, rows

KINDS = ("discrepancy", "scale", "trajectory", "noise-scale", "weights")
COMMANDS: tuple[tuple[str, ...], ...] = (
    *(("table", "RUN", "--kind", kind, "--format", form)
      for kind in ("discrepancies", "learning_rates") for form in ("text", "latex", "markdown", "csv",
      "html")),
    ("report", "RUN"),
    ("report", "RUN", "--case", "one"),
    ("report", "OTHER"),  # of which RUN is the history
    ("diff", "RUN", "OTHER"),
    ("diff", "OTHER", "RUN", "--format", "markdown"),
    ("cite", "RUN"),
    ("merge", "RUN", "OTHER", "--output", "all"),
    ("merge", "RUN", "--output", "all"),
)  # fmt: skip
FIGURES = tuple(("plot", "RUN", "--kind", kind, "--out", "figure.svg") for kind in KINDS)


@cache
def samples() -> tuple[list[Row], ...]:
    """Rows of runs, complete."""
    weights = {"weights": [0.5, None, 0.25], "samples": 3, "x": 1.0}
    return rows(("one",), (2, 8)), [*hostile()[:1], *hostile()[-6:], row("claim", numbers=weights)]


def sealed(found: Any) -> bytes:
    """The record of these rows with the right end: whoever edits numbers can compute a digest."""
    lines = b"".join(_line(row) for row in found) if isinstance(found, list) else _line(found)
    measured = [r for r in found if not (isinstance(r, dict) and r.get("kind") == "environment")]
    named = [r["environment"] for r in found if isinstance(r, dict) and isinstance(r.get("environment"), str)]
    done = {
        "schema": SCHEMA, "kind": "done", "environment": (named or [""])[0], "item": "all", "work": "all",
        "fingerprint": "f", "index": 0, "rows": len(measured),
        "digest": hashlib.sha256(lines).hexdigest()[:16],
    }  # fmt: skip
    return lines + _line(done)


def _line(row: Any) -> bytes:
    return json.dumps(row).encode() + b"\n"


def _read(given: tuple[tuple[str, ...], Any], folder: Path) -> None:
    line, found = given
    for name, some in {"RUN": found, "OTHER": samples()[0]}.items():
        (folder / name).mkdir()
        (folder / name / FILE).write_bytes(sealed(some))
    _, shown = run(*line)
    if line[0] == "table" and "csv" not in line:
        assert not {"nan", "inf", "-inf"} & set(shown.split()), "a table shows what is no number"


def _inputs() -> st.SearchStrategy[Any]:
    trees = changed_tree(samples()).filter(lambda found: isinstance(found, list))
    return st.one_of(
        st.tuples(st.sampled_from(COMMANDS), trees),
        st.tuples(st.sampled_from(COMMANDS), trees),
        st.tuples(st.sampled_from(COMMANDS), trees),
        st.tuples(st.sampled_from(FIGURES), trees),
    )


PARSER = Parser(
    "runs",
    st.deferred(_inputs),
    _read,
    tuple((command, samples()[0]) for command in COMMANDS)
    + tuple((figure, samples()[figure[3] == "weights"]) for figure in FIGURES),
    seconds=10.0,  # a figure takes one, on a slow machine three
)
