"""The record on disk."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.errors import UsageError
from suite.records import SCHEMA, Recorder, plain, read


def test_each_row_is_on_disk_before_the_next(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run") as recorder:
        recorder.write({"kind": "a", "value": 0.1})
        assert json.loads(recorder.path.read_text()) == {"schema": SCHEMA, "kind": "a", "value": 0.1}


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_survive_exactly(value: float) -> None:
    assert json.loads(json.dumps(plain({"v": value})))["v"] == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_become_null(value: float) -> None:
    assert plain({"v": [value]}) == {"v": [None]}


def test_a_folder_with_a_run_is_not_overwritten(tmp_path: Path) -> None:
    with Recorder(tmp_path):
        pass
    with pytest.raises(UsageError, match="holds a run already: choose another --output"):
        Recorder(tmp_path)


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(UsageError, match="is a file: choose another --output"):
        Recorder(tmp_path / "taken")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_said_in_one_line(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    os.dup2(os.open("/dev/full", os.O_WRONLY), recorder._file.fileno())
    with pytest.raises(UsageError, match="No space left on device"):
        recorder.write({"kind": "a"})
    os.dup2(os.open(os.devnull, os.O_WRONLY), recorder._file.fileno())
    recorder._file.close()


ROW = {"schema": SCHEMA, "kind": "environment", "started": "", "gradsuite": "", "torch": "", "device": "",
       "dtype": "", "seed": 0, "reference": "mean"}  # fmt: skip


def test_a_run_is_read_from_its_folder_or_its_file(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run") as recorder:
        recorder.write({key: value for key, value in ROW.items() if key != "schema"})
    assert read(tmp_path / "run") == read(recorder.path) == [ROW]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"schema": 1, "kind": "disc', "row 2 is torn or was edited"),
        ("[1, 2]", "row 2 is no record of gradsuite"),
        ('{"schema": 1}', "row 2 is no record of gradsuite"),
        ('{"schema": 99, "kind": "proof"}', "row 2 has schema 99, this gradsuite reads 1"),
        ('{"schema": 1, "kind": "omitted", "case": "a"}', "lacks convention, reason"),
    ],
)
def test_a_row_that_is_not_sound_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(ROW) + "\n" + line + "\n")
    with pytest.raises(UsageError, match=said) as error:
        read(tmp_path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_without_a_run_and_a_foreign_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        read(tmp_path)
    (tmp_path / "records.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path)
    (tmp_path / "records.jsonl").write_text("")
    with pytest.raises(UsageError, match="no record of a run"):
        read(tmp_path)
