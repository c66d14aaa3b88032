"""The folder in which `gradsuite fuzz` keeps its examples, damaged."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import strategies as st

from suite.fuzz import Target, search
from suite.fuzz.examples import Budget
from suite.fuzz.worst import worst
from tests.parsers.mutations import changed_bytes
from tests.parsers.parser import Parser

Files = tuple[tuple[str, bytes], ...]


def _search(folder: Path) -> object:
    lists = st.lists(st.integers(0, 9), min_size=2, max_size=9)
    rare = Target("rare", "none is", lists, lambda some: "it is" * (sum(some) > 9), str)
    assert search(rare, Budget(examples=50), folder=folder).says
    return worst(lambda some: sum(some) / 99, lists, [], Budget(examples=20), folder=folder)


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
