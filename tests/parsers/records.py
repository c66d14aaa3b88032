"""The bytes of a record: read, loaded, gone on with by a run, merged."""

from __future__ import annotations

import contextlib
import gzip
import json
from functools import cache
from pathlib import Path

from hypothesis import strategies as st

from suite.records import file as records
from suite.records.merge import merge
from suite.records.schema import check
from suite.records.writer import Recorder
from tests.parsers.mutations import changed_bytes
from tests.parsers.parser import Parser
from tests.report.rows import hostile, rows, write


@cache
def samples() -> tuple[bytes, ...]:
    """Records of every kind of row, of both schemas, of several items, and of none."""
    import tempfile

    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, some in {"few": rows(("one",), (2,)), "hostile": hostile()[-8:]}.items():
            kept = [rows()[0], *some[1:]] if name == "few" else [hostile()[0], *some]
            found.append((write(Path(folder) / name, kept) / records.FILE).read_bytes())
    old = {
        "schema": 1,
        "kind": "environment",
        "gradsuite": "0.1.0",
        "torch": "2.6",
        "device": "cpu",
        "seed": 0,
    }
    failed = {"schema": 1, "kind": "failure", "case": "a", "reason": "b", "device": "cpu", "dtype": "float32"}
    first = "".join(json.dumps(row) + "\n" for row in (old, failed)).encode()
    return (*found, found[0] + found[1], first, b"")


def _read(given: tuple[str, bytes], folder: Path) -> None:
    kind, data = given
    file = folder / "run" / (records.FILE + (".gz" if kind == "gz" else ""))
    file.parent.mkdir()
    file.write_bytes(data)
    if kind == "resume":
        with Recorder(file.parent, lambda _: None) as recorder:
            assert all(check(row) is None for row in recorder.environments)
        assert file.read_bytes() == data[: file.stat().st_size]
        assert records.load(file).torn is None
    elif kind == "merge":
        merge([file], folder / "all", lambda _: None)
        assert {records.identity(row) for row in records.read(file)} == {
            records.identity(row) for row in records.read(folder / "all")
        }
    else:
        found = records.read(file)
        assert found
        assert all(check(row) is None for row in found)
        known = {row["environment"] for row in found if row["kind"] == "environment"}
        assert all(row["environment"] in known for row in found), "a row names no environment"
        with contextlib.suppress(records.UsageError):  # schema 1 has no items
            assert not records.load(file).torn


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
