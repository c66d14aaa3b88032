"""The folder in which `gradsuite fuzz` keeps its examples, damaged."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import strategies as st

from suite.conventions import conventions
from suite.fuzz import Target, search
from suite.fuzz.direction import worst_direction
from suite.fuzz.search import Budget
from tests.parsers.mutations import changed_bytes
from tests.parsers.parser import Parser

Files = tuple[tuple[str, bytes], ...]


def _search(folder: Path) -> object:
    rare = Target("rare", "none is", st.lists(st.integers(0, 9), min_size=2), lambda some: "it is" * (sum(some) > 9), str)
    assert search(rare, Budget(examples=200), folder=folder).says
    pair = conventions["token-mean"], conventions["mean-of-sequence-means"]
    return worst_direction(*pair, Budget(examples=20), folder=folder)


@cache
def files() -> Files:
    """What a search leaves."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        _search(folder)
        found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return tuple((str(path.relative_to(folder)), path.read_bytes()) for path in found)


def _read(given: Files, folder: Path) -> None:
    for name, content in given:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    _search(folder)


@st.composite
def damaged(draw: st.DrawFn) -> Files:
    """Files of which each may be changed."""
    contents = [content for _, content in files()]
    changed = changed_bytes(contents, (b"\x00", b"\xff" * 9))
    return tuple((name, draw(changed) if draw(st.booleans()) else content) for name, content in files())


PARSER = Parser("kept", st.deferred(damaged), _read, (), seconds=30.0)

