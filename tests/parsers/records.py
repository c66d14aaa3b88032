"""The bytes of a record: read, loaded, gone on with by a run, merged."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path

from hypothesis import strategies as st

from suite.records import file as records
from suite.records.merge import merge
from suite.records.schema import what_is_wrong
from suite.records.writer import Recorder
from tests.parsers.mutations import changed_bytes
from tests.parsers.parser import Parser
from tests.report.rows import hostile, rows, write


@cache
def samples() -> tuple[bytes, ...]:
    """Records of every kind of row, of a schema that is gone, of several items, and of none."""
    import tempfile

    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, some in {"few": rows(("one",), (2,)), "hostile": hostile()[-8:]}.items():
            kept = [rows()[0], *some[1:]] if name == "few" else [hostile()[0], *some]
            found.append((write(Path(folder) / name, kept) / records.FILE).read_bytes())
    first = json.dumps({**rows()[0], "schema": 1}).encode() + b"\n"
    return (*found, found[0] + found[1], first, b"")


def _read(given: tuple[str, bytes], folder: Path) -> None:
    kind, data = given
    file = folder / "run" / (records.FILE + (".gz" if kind == "gz" else ""))
    file.parent.mkdir()
    file.write_bytes(data)
    if kind == "resume":
        with Recorder(file.parent, lambda _: None) as recorder:
            assert all(what_is_wrong(row) is None for row in recorder.environments)
        assert file.read_bytes() == data[: file.stat().st_size]
        assert records.read_log(file).torn is None
    elif kind == "merge":
        merge([file], folder / "all", lambda _: None)
        assert {records.row_identity(row) for row in records.read(file)} == {
            records.row_identity(row) for row in records.read(folder / "all")
        }
    else:
        found = records.read(file)
        assert found
        assert all(what_is_wrong(row) is None for row in found)
        known = {row["environment"] for row in found if row["kind"] == "environment"}
        assert all(row["environment"] in known for row in found), "a row names no environment"
        assert not records.read_log(file).torn


def _packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def _inputs() -> st.SearchStrategy[tuple[str, bytes]]:
    plain = changed_bytes(samples())
    packed = changed_bytes([_packed(data) for data in samples()], (b"\x1f\x8b\x08", b"\x00", b"\xff"))
    return st.one_of(
        st.tuples(st.sampled_from(["read", "resume", "merge"]), plain),
        st.tuples(st.just("gz"), st.one_of(packed, plain.map(_packed))),
    )


PARSER = Parser(
    "records",
    st.deferred(_inputs),
    _read,
    (*((kind, samples()[0]) for kind in ("read", "resume", "merge")), ("gz", _packed(samples()[1]))),
)
