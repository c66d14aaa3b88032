"""The weights that `gradsuite recover --json` printed, which `gradsuite plot` draws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from suite.figures.weights import of_file
from tests.parsers.mutations import changed_bytes, changed_tree
from tests.parsers.parser import Parser, run

CARDS: tuple[dict[str, Any], ...] = (
    {"weights": [0.25, 0.25, 0.5, None], "samples": 4, "linear": True, "convention": "mean"},
    {"weights": [0.0, 2.0], "samples": 2, "linear": False, "residual": 0.3, "fault": None},
    {"weights": [1, 1], "linear": True, "fault": "fault:lost-first"},
)


def _read(given: tuple[str, bytes], folder: Path) -> None:
    kind, content = given
    (folder / "found.json").write_bytes(content)
    if kind == "draw":
        run("plot", "found.json", "--kind", "weights", "--out", "figure.svg")
        assert (folder / "figure.svg").read_bytes().startswith(b"<?xml")
        return
    found = of_file(folder / "found.json")
    assert len(found.weights) > 0
    assert found.samples > 0
    assert 0 < found.expected <= 1
    assert isinstance(found.title, str)


def _inputs() -> st.SearchStrategy[Any]:
    valid = [json.dumps(card).encode() for card in CARDS]
    read = st.one_of(
        changed_bytes(valid),
        changed_tree(CARDS).map(lambda tree: json.dumps(tree).encode()),
        changed_tree(CARDS).map(lambda tree: json.dumps(tree).encode()),
    )
    kinds = st.sampled_from(["read"] * 9 + ["draw"])
    return st.tuples(kinds, read)


PARSER = Parser(
    "weights",
    st.deferred(_inputs),
    _read,
    tuple((kind, json.dumps(card).encode()) for kind in ("read", "draw") for card in CARDS),
    seconds=10.0,
)
