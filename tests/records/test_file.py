"""The format of the record: what is written is read back, and what is wrong with a file is said."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.errors import UsageError
from suite.records.file import encode, latest, parse, plain, read, read_log
from tests.made_up import record_blocks, record_environment, record_row

ENVIRONMENT = record_environment()
NAME = ENVIRONMENT["environment"]


def done(item: str, fingerprint: str = "f", index: int = 0) -> dict:
    return {"environment": NAME, "item": item, "work": item, "fingerprint": fingerprint, "index": index}


def write(folder: Path, *blocks: bytes) -> Path:
    path = folder / "records.jsonl"
    path.write_bytes(b"".join(blocks))
    return path


def two_items() -> tuple[bytes, bytes]:
    first = encode(
        [record_row(batch="0"), record_row(batch="0", convention="half-sum")], done("a"), [ENVIRONMENT]
    )
    return first, encode([record_row(batch="1")], done("b"))


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_survive_exactly(value: float) -> None:
    data = encode([record_row(scale=value)], done("a"), [ENVIRONMENT])
    (block,) = parse(data, Path("records.jsonl")).blocks
    assert block.rows[0]["scale"] == value
    assert str(block.rows[0]["scale"]) == str(value)  # the sign of zero too


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_become_null(value: float) -> None:
    assert plain({"v": [value]}) == {"v": [None]}


def test_a_run_is_read_from_its_folder_its_file_and_its_compressed_file(tmp_path: Path) -> None:
    path = write(tmp_path, *two_items())
    rows = read(tmp_path)
    assert [row["kind"] for row in rows] == ["environment", *["discrepancy"] * 3]
    assert read(path) == rows
    packed = tmp_path / "packed" / "records.jsonl.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read(packed) == read(packed.parent) == rows


@given(blocks=record_blocks(), data=st.data())
def test_cut_anywhere_a_record_keeps_its_finished_items_and_nothing_else(blocks, data) -> None:
    lines = [encode(*block) for block in blocks]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    log = parse(whole[:cut], Path("records.jsonl"))
    finished = 0
    while sum(map(len, lines[: finished + 1])) <= cut and finished < len(lines):
        finished += 1
    assert len(log.blocks) == finished
    assert log.good == sum(map(len, lines[:finished]))
    assert (log.torn is None) == (cut == log.good)


def test_a_cut_record_is_named_with_its_row_and_what_to_do(tmp_path: Path) -> None:
    first, second = two_items()
    path = write(tmp_path, first, second[:100])
    with pytest.raises(UsageError, match=r"records.jsonl, row 5 is cut off: .* measures it again"):
        read(tmp_path)
    write(tmp_path, first, second[: second.index(b"\n") + 1])
    with pytest.raises(UsageError, match="row 5 has no end of its item after it"):
        read(path)


def test_what_a_lost_power_supply_leaves_is_torn_not_foreign(tmp_path: Path) -> None:
    log = parse(two_items()[0] + b"\0" * 4096, Path("records.jsonl"))
    assert log.torn
    assert len(log.blocks) == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"scale": 2.0', b'"scale": 2.5', r"rows 1 to 4 \(a\) are not what was written: they were edited"),
        (b'"scale": 2.0', b'"scale": "two"', r"row 2: Expected `float \| null`, got `str` at `scale`"),
        (b'"verdict": "scale"', b'"verdict": "great"', "row 2: Invalid enum value 'great' at `verdict`"),
        (b'"case": "mse"', b'"xase": "mse"', "row 2: Object missing required field `case`"),
        (b'"kind": "discrepancy"', b'"kind": "rumour"', "row 2: Invalid value 'rumour'"),
        (
            b'"schema": 2, "kind": "disc',
            b'"schema": 3, "kind": "disc',
            "row 2: schema 3 is of a newer",
        ),
        (
            b'"residual": 0.0, "max_abs": 0.5, "rounding": 1e-08, "verdict": "scale"',
            b'"residual": null, "max_abs": 0.5, "rounding": 1e-08, "verdict": "direction"',
            "row 2: Expected a number with the verdict 'direction', got `null` at `residual`",
        ),
        (b'"scale": 2.0', b'"scale": NaN', "row 2 holds what no record does: a number that is not finite"),
        (b'"scale": 2.0', b'"scale": -1e999', "row 2 holds what no record does"),
        (b'"case": "mse"', b'"case": "\\ud800"', "row 2 holds what no record does: .* or broken text"),
        (b'"scale": 2.0,', b'"scale": ,', "row 2 is torn"),
        (b'"scale": 2.0', b'"scale": ' + b"[" * 100_000, "row 2 is torn"),
        (b"mse", b"ms\xff", "row 2 is torn"),
    ],
)
def test_an_edited_record_is_named_with_its_row(tmp_path: Path, old: bytes, new: bytes, said: str) -> None:
    first, second = two_items()
    write(tmp_path, first.replace(old, new, 1), second)
    with pytest.raises(UsageError, match=f"records.jsonl, {said}") as error:
        read(tmp_path)
    assert "\n" not in str(error.value)


def test_a_row_that_is_missing_is_found(tmp_path: Path) -> None:
    lines = b"".join(two_items()).splitlines(keepends=True)
    write(tmp_path, *lines[:1], *lines[2:])
    with pytest.raises(UsageError, match=r"rows 1 to 3 .* some are missing"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"hello\n", "row 1 is torn"),
        (b"a,b\n1,2\n", "row 1 is torn"),
        (b'{"a": 1}\n', "row 1: no record of gradsuite"),
        (b"[1]\n", "row 1: no record of gradsuite"),
        (b'{"schema": 9, "kind": "x"}\n', "row 1: schema 9 is of a newer gradsuite"),
        (b'{"schema": -1, "kind": "x"}\n', "row 1: no record of gradsuite"),
        (b'{"schema": "2", "kind": "x"}\n', "row 1: no record of gradsuite"),
        (b"\x89PNG\r\n\x1a\n", "row 1 is torn"),
        (b"", "holds no rows yet"),
    ],
)
def test_a_foreign_file_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    write(tmp_path, content)
    with pytest.raises(UsageError, match=said):
        read(tmp_path)


@given(content=st.binary(max_size=300))
def test_no_bytes_end_in_anything_but_a_line(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("foreign")
    for name in ("records.jsonl", "records.jsonl.gz"):
        (folder / name).write_bytes(content)
        with pytest.raises(UsageError):
            read(folder / name)


def test_a_compressed_record_that_is_cut_off_is_named(tmp_path: Path) -> None:
    packed = gzip.compress(b"".join(two_items()))
    (tmp_path / "records.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(UsageError, match=r"records.jsonl.gz is damaged or cut off"):
        read(tmp_path)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        read(tmp_path)
    with pytest.raises(UsageError, match="nowhere holds no run: give the folder of one"):
        read(tmp_path / "nowhere")


def test_what_was_measured_again_counts_once_and_the_last_time(tmp_path: Path) -> None:
    again = encode([record_row(batch="0", scale=3.0)], done("a", "changed code"))
    rows = latest(parse(b"".join([*two_items(), again]), Path()).blocks)
    assert [(r["batch"], r["convention"], r["scale"]) for r in rows[1:]] == [
        ("1", "sum", 2.0),
        ("0", "sum", 3.0),
    ]


def test_a_lost_worker_loses_no_result_but_a_changed_case_does() -> None:
    failure = record_row("failure", batch="0", reason="lost")
    for fingerprint, expected in (("f", {"discrepancy"}), ("changed", {"discrepancy", "failure"})):
        blocks = parse(b"".join([*two_items(), encode([failure], done("a", fingerprint))]), Path()).blocks
        assert {row["kind"] for row in latest(blocks)} - {"environment"} == expected


def test_the_number_of_a_device_is_no_part_of_what_a_row_is_of() -> None:
    one, two = (encode([record_row(device=f"cuda:{k}")], done(str(k)), [ENVIRONMENT]) for k in range(2))
    assert len(latest(parse(one + two, Path()).blocks)) == 2  # an environment and one row


def test_kinds_and_fields_are_read_under_their_former_names(tmp_path: Path) -> None:
    now = encode([record_row("training_check", check_reason="it diverges")], done("a"), [ENVIRONMENT])
    before = now.replace(b"training_check", b"proof").replace(b"check_reason", b"proof_reason")
    parts = [data.splitlines(keepends=True) for data in (now, before)]
    digests = [hashlib.sha256(b"".join(lines[:-1])).hexdigest()[:16].encode() for lines in parts]
    write(tmp_path, *parts[1][:-1], parts[1][-1].replace(*digests))
    row = read(tmp_path)[-1]
    assert (row["kind"], row["check_reason"], "proof_reason" in row) == (
        "training_check",
        "it diverges",
        False,
    )


def test_a_record_of_schema_1_is_refused_in_one_line(tmp_path: Path) -> None:
    line = json.dumps({**ENVIRONMENT, "schema": 1}).encode() + b"\n"
    write(tmp_path, line, *two_items())
    for reader in (read, read_log):
        with pytest.raises(UsageError, match=r"row 1: schema 1 was never released .*: measure again$"):
            reader(tmp_path)


def test_a_record_that_the_system_does_not_hand_over_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, *two_items())

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UsageError, match=r"cannot read .*: Permission denied"):
        read(tmp_path)
