"""The record of a run: JSON Lines, one self-describing row a measurement, an item at a time.

The rows of an item end with a row of kind `done`, which counts them and holds their digest, and all of
them are written at once: half an item is never taken for a whole one, and a number that was edited by
hand is found. Every row says what was measured (case, batch, convention, reference, engine, device,
dtype, seed), when, for how long and with how much memory. What would be the same in thousands of rows,
the versions and the machine, is said once, in a row of kind `environment` that the others name: written
into each, it would double the file.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.errors import UsageError, one_line, visible
from suite.machine.version import __version__
from suite.records.fields import SCHEMA, Row, names_with_role
from suite.records.schema import what_is_wrong

FILE = "records.jsonl"
FILES = (FILE, FILE + ".gz")
SMALL_FILE = 2**26
"""Bytes that may be unpacked from any file."""
DENSEST = 100
"""How many times as long as the compressed file a record may be; the reference's is 20 times as long."""
IDENTITY = ("kind", *names_with_role("identity"))
"""What tells the rows of a run apart."""
COST = names_with_role("cost")
"""What of a row is not a result: two runs that agree differ in no more than this."""


@dataclass(frozen=True)
class Block:
    """One finished item, as it stands in the record.

    Args:
        done: its last row, of kind `done`.
        rows: what was measured.
        environments: the environments that its rows name, so far as it is the first to name them.
        lines: the number of its first line in the file, from 1, and of its last.
    """

    done: Row
    rows: list[Row]
    environments: list[Row]
    lines: tuple[int, int]

    @property
    def failed(self) -> bool:
        """Whether it could not be measured."""
        return any(row["kind"] == "failure" for row in self.rows)


@dataclass(frozen=True)
class Log:
    """What a file of records holds.

    Args:
        blocks: the finished items, in the order in which they were finished.
        good: how many bytes they take.
        torn: what is wrong with the rest, which a killed run left; None where there is none.
    """

    blocks: list[Block]
    good: int
    torn: str | None


def read(path: str | Path) -> list[Row]:
    """The rows of a run: its environments and what was measured, each once.

    Where an item was measured again, as after a change of its case, the last time counts; where two
    items hold the same row, as of one convention and of all, the later row does.

    Args:
        path: the folder of a run, or its `records.jsonl` or `records.jsonl.gz`.

    Raises:
        UsageError: There is no record; or a row is cut off, foreign, edited or of another schema. The
            message names the file and the row.
    """
    file = find(path)
    blocks = read_log(file).blocks
    if not blocks:
        raise UsageError(f"{file} holds no rows yet")
    return latest(blocks)


def read_log(path: str | Path) -> Log:
    """The finished items of a run, all of them, those that were measured again since included.

    There may be none: a part of a small run.

    Raises:
        UsageError: As for `read`.
    """
    file = find(path)
    log = parse(_bytes(file), file)
    if log.torn:
        raise UsageError(
            f"{log.torn}; the same `gradsuite run` with --output {file.parent} measures it again"
        )
    return log


def find(path: str | Path) -> Path:
    """The file of records that `path`, a folder or the file itself, means.

    Raises:
        UsageError: There is none.
    """
    path = Path(path)
    try:
        if path.is_dir():
            for name in FILES:
                if (path / name).is_file():
                    return path / name
            inside = sorted(f.parent.name for name in FILES for f in path.glob(f"*/{name}"))
            hint = f"; {len(inside)} of its folders do, such as {path / inside[-1]}" if inside else ""
            raise UsageError(f"{path} holds no run: there is no {FILE} in it{hint}")
        if path.is_file():
            return path
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise UsageError(f"{path} holds no run: {error.strerror}") from None
    raise UsageError(f"{path} holds no run: give the folder of one, or its {FILE}")


def parse(data: bytes, file: Path) -> Log:
    """The finished items in the bytes of a file, and where the first unfinished one begins.

    Raises:
        UsageError: A row of a finished item, or one that no killed run leaves, is wrong.
    """
    blocks: list[Block] = []
    pending: list[bytes] = []
    known: set[str] = set()
    begin, good, number = 1, 0, 0
    for number, line in enumerate(_lines(data), start=1):
        pending.append(line)
        if line.startswith(_DONE) and line.endswith(b"\n"):
            blocks.append(_block(pending, begin, file))
            _check_environments(blocks[-1], known, file)
            good += sum(map(len, pending))
            begin, pending = number + 1, []
    if not pending:
        return Log(blocks, good, None)
    for offset, line in enumerate(pending):
        if not _left_by_a_killed_run(line):
            _row(line, file, begin + offset)
            raise UsageError(f"{file}, row {begin + offset}: no record of gradsuite")
    cut = "is cut off" if not pending[-1].endswith(b"\n") else "has no end of its item after it"
    return Log(blocks, good, f"{file}, row {number} {cut}: the run was killed while it wrote")


def latest(blocks: Iterable[Block]) -> list[Row]:
    """The rows of these blocks: of each item the last time, of each identity the last row."""
    items: dict[str, Block] = {}
    environments: dict[str, Row] = {}
    for block in blocks:
        environments |= {row["environment"]: row for row in block.environments}
        supersede(items, block)
    rows: dict[tuple[Any, ...], Row] = {}
    for block in items.values():
        for row in block.rows:
            rows[row_identity(row)] = row
    used = {row["environment"] for row in rows.values()}
    return [row for name, row in environments.items() if name in used] + list(rows.values())


def supersede(items: dict[str, Block], block: Block) -> None:
    """Let `block` take the place of an earlier one of the same work.

    Unless it failed where the same code had succeeded: a lost worker loses no result.
    """
    before = items.pop(block.done["work"], None)
    same = before is not None and before.done["fingerprint"] == block.done["fingerprint"]
    keep = before if before is not None and same and block.failed and not before.failed else block
    items[block.done["work"]] = keep


def row_identity(row: Row) -> tuple[Any, ...]:
    """What a row is of; no two rows of a run have the same. Its device stands last, without a number."""
    known = (row.get(key) for key in IDENTITY if key != "device")
    return (*known, str(row.get("device", "")).partition(":")[0])


def encode(rows: Sequence[Row], done: Row, environments: Sequence[Row] = ()) -> bytes:
    """The lines of an item, its end included."""
    lines = b"".join(_line(row) for row in (*environments, *rows))
    end = {"rows": len(rows), "digest": hashlib.sha256(lines).hexdigest()[:16]}
    return lines + _line({"kind": "done", **done, **end})


def plain(value: Any) -> Any:
    """`value` in what JSON has: numbers that are not finite become null, whose reason stands beside."""
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str) and not value.isascii():  # half a character is in no encoding
        return value.encode(errors="backslashreplace").decode()
    return value


_START = f'{{"schema": {SCHEMA}, '.encode()
_FORMER_NAMES = {"proof": "training_check", "proof_reason": "check_reason"}
"""Kinds and fields that records of earlier versions call otherwise."""

_DONE = _START + b'"kind": "done", '


def _line(row: Row) -> bytes:
    first = {"schema": SCHEMA, "kind": row["kind"]}
    return json.dumps(plain(first | row), ensure_ascii=False).encode() + b"\n"


def _lines(data: bytes) -> Iterator[bytes]:
    """The lines with their ends; the last may have none."""
    lines = data.split(b"\n")
    yield from (line + b"\n" for line in lines[:-1])
    if lines[-1]:
        yield lines[-1]


def _left_by_a_killed_run(line: bytes) -> bool:
    """Whether this can be a row, or the beginning of one, or what a lost power supply leaves of one."""
    return line.startswith(_START) or _START.startswith(line) or not line.strip(b"\0")


def _block(lines: Sequence[bytes], begin: int, file: Path) -> Block:
    rows = [_checked(_row(line, file, begin + k), file, begin + k) for k, line in enumerate(lines)]
    done, rows = rows[-1], rows[:-1]
    environments = [row for row in rows if row["kind"] == "environment"]
    measured = [row for row in rows if row["kind"] != "environment"]
    end = begin + len(lines) - 1
    same = hashlib.sha256(b"".join(lines[:-1])).hexdigest()[:16] == done["digest"]
    if not same or len(measured) != done["rows"]:
        how = "they were edited, or some are missing"
        if lines[0].endswith(b"\r\n"):
            how = "their line ends were changed, by an editor or git's autocrlf"
        raise UsageError(
            f"{file}, rows {begin} to {end} ({done['item']}) are not what was written: {how}; take "
            "the file from where it was kept, or measure again into another folder"
        )
    return Block(done, measured, environments, (begin, end))


def _check_environments(block: Block, known: set[str], file: Path) -> None:
    known |= {row["environment"] for row in block.environments}
    for row in (*block.rows, block.done):
        if row["environment"] not in known:
            raise UsageError(
                f"{file}, rows {block.lines[0]} to {block.lines[1]} name an environment that no row above "
                f"them describes, {row['environment']!r}: rows are missing"
            )


_SUSPICIOUS = re.compile(rb"\\u[dD]|[eE]\+?\d{3}|\d{300}|NaN|Infinity")


def _plainly_json(value: Any) -> bool:
    """Whether it can be written again: neither nan, infinite, of hundreds of digits, nor half a character."""
    if isinstance(value, dict):
        return all(_plainly_json(inner) for entry in value.items() for inner in entry)
    if isinstance(value, list):
        return all(map(_plainly_json, value))
    if isinstance(value, str):
        return value.isascii() or value == value.encode(errors="replace").decode()
    return not isinstance(value, int | float) or abs(value) <= sys.float_info.max


def _visible(value: Any) -> Any:
    if isinstance(value, dict):
        return {visible(key): _visible(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_visible(inner) for inner in value]
    return visible(value) if isinstance(value, str) else value


def _row(line: bytes, file: Path, number: int) -> Row:
    """One line as a row of a schema that this version knows."""
    where = f"{file}, row {number}"
    try:
        row = json.loads(line)
        if _SUSPICIOUS.search(line) and not _plainly_json(row):
            raise UsageError(
                f"{where} holds what no record does: a number that is not finite, or broken text"
            )
    except UsageError:
        raise
    except (ValueError, RecursionError):
        raise UsageError(f"{where} is torn, or no record of gradsuite: it is no JSON") from None
    if b"\\u00" in line:  # what a terminal would obey
        row = _visible(row)
    schema = row.get("schema") if isinstance(row, dict) else None
    if type(schema) is not int or "kind" not in row:
        raise UsageError(f"{where}: no record of gradsuite, which is an object with 'schema' and 'kind'")
    if schema == 1:
        raise UsageError(f"{where}: schema 1 was never released and is not read any more: measure again")
    if schema > SCHEMA:
        raise UsageError(
            f"{where}: schema {schema} is of a newer gradsuite; this one, {__version__}, reads to {SCHEMA}: "
            "pip install --upgrade gradsuite"
        )
    row = {_FORMER_NAMES.get(name, name): value for name, value in row.items()}
    return row | {"kind": _FORMER_NAMES.get(kind, kind)} if isinstance(kind := row["kind"], str) else row


def _checked(row: Row, file: Path, number: int) -> Row:
    wrong = what_is_wrong(row)
    if wrong is not None:
        raise UsageError(f"{file}, row {number}: {wrong}")
    return row


def _unpacked(data: bytes, file: Path) -> bytes:
    """The bytes that were compressed, if they are as many as a record may be.

    Raises:
        UsageError: A small file would fill the memory.
    """
    most = max(SMALL_FILE, DENSEST * len(data))
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
        found = stream.read(most + 1)
    if len(found) > most:
        raise UsageError(
            f"{file} has {len(data)} bytes, and more than {most} when it is unpacked: no record is so dense"
        )
    return found


def _bytes(file: Path) -> bytes:
    try:
        data = file.read_bytes()
        return _unpacked(data, file) if file.suffix == ".gz" else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UsageError(f"{file} is damaged or cut off: {one_line(error)}") from None
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
