"""The record on disk."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.errors import UsageError
from suite.records import SCHEMA, Recorder, plain


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
