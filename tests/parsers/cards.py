"""Paper cards, and the commands that read them."""

from __future__ import annotations

import json
import math
import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import strategies as st

from suite.papers.library import papers
from suite.papers.load import load_card
from tests.papers.test_load import CARD
from tests.parsers.mutations import changed_bytes, changed_tree
from tests.parsers.parser import Parser, run

BUILT_IN = tuple(
    (Path(__file__).parents[2] / "cases" / "papers" / f"{name}.toml").read_bytes()
    for name in ("dqn-2015", "bert-2018")
    if (Path(__file__).parents[2] / "cases" / "papers" / f"{name}.toml").exists()
)
VALID = (CARD.encode(), *BUILT_IN)
COMMANDS = (
    (),
    ("show", "card"),
    ("show", "card", "--json"),
    ("list", "papers"),
    ("lr", "--paper", "card", "--to", "sum", "--batch-size", "32", "--elements", "2", "--set", "lr=0.5"),
    ("lr", "--paper", "card", "--scale", "2", "--json"),
    ("lr", "--paper", "card", "--rule", "*", "--batch-size", "32", "--to-batch-size", "64"),
)


def toml(value: Any) -> str:
    """The value in TOML, so far as TOML has it; what it has not is to be refused."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(k))} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return json.dumps(value, default=str)


def card(tree: Any) -> bytes:
    """A file with these keys."""
    if not isinstance(tree, dict):
        return toml(tree).encode(errors="replace")
    lines = [f"{json.dumps(str(key))} = {toml(value)}" for key, value in tree.items()]
    return "\n".join(lines).encode(errors="replace")


@contextmanager
def shelf(folder: Path) -> Any:
    """The cards of `folder` in place of the built-in ones."""
    with mock.patch.dict(papers.__dict__, {"folder": folder}):
        yield


def _read(given: tuple[tuple[str, ...], bytes], folder: Path) -> None:
    line, content = given
    (folder / "card.toml").write_bytes(content)
    if not line:
        found = load_card(folder / "card.toml")
        assert found.summary
        assert all(isinstance(value, str | int | float) for value in found.card().values())
        assert found.max_norm is None or found.max_norm > 0
        return
    with shelf(folder):
        code, shown = run(*line)
    if "--json" in line and code == 0:
        json.loads(shown, parse_constant=_no_number)


def _no_number(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def _inputs() -> st.SearchStrategy[Any]:
    trees = [tomllib.loads(content.decode()) for content in VALID]
    return st.tuples(
        st.sampled_from(COMMANDS),
        st.one_of(
            changed_bytes(VALID),
            changed_tree(trees).map(card),
            changed_tree(trees).map(card),
            st.sampled_from(
                [b"a = " + b"[" * 100_000, b"a = " + b'{"b" = ' * 3000, b"a." * 50_000 + b"b = 1"]
            ),
            st.binary(max_size=200),
        ),
    )


PARSER = Parser(
    "cards",
    st.deferred(_inputs),
    _read,
    tuple((command, VALID[0]) for command in COMMANDS) + tuple(((), content) for content in VALID),
)
