"""Amounts of memory as people write them, and as they are told."""

from __future__ import annotations

import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from suite.errors import UsageError
from suite.machine import buffers, memory
from suite.machine.memory import format_bytes, free_bytes, parse_bytes


@pytest.mark.parametrize(
    ("given", "count"),
    [
        (None, None),
        (12, 12),
        ("500000000", 500_000_000),
        ("500MB", 500_000_000),
        ("500 mb", 500_000_000),
        ("1.5G", 1_500_000_000),
        ("2GiB", 2 * 1024**3),
        ("1kB", 1000),
        ("64B", 64),
        (".5MiB", 512 * 1024),
    ],
)
def test_amounts_are_read_as_people_write_them(given: int | str | None, count: int | None) -> None:
    assert parse_bytes(given) == count


@pytest.mark.parametrize("given", ["", "0", "-5", "MB", "12XB", "5 iB", "1e9", "nan", 0, "9" * 30, "0.5"])
def test_what_is_no_amount_is_bad_input(given: int | str) -> None:
    with pytest.raises(UsageError, match="--memory takes a number of bytes, as 500000000, 500MB or 2GiB"):
        parse_bytes(given)


@given(st.integers(1, 10**15))
def test_what_is_told_is_enough_and_hardly_more(count: int) -> None:
    again = parse_bytes(format_bytes(count))
    assert again is not None
    assert count - 1 <= again <= count * 1.01 + 1


@pytest.fixture(autouse=True)
def nothing_is_kept() -> None:
    buffers.release()


def test_a_container_has_no_more_than_its_limit(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    unbounded = free_bytes(torch.device("cpu"))
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert free_bytes(torch.device("cpu")) > 10_000
    (tmp_path / "memory.max").write_text("1000\n")
    assert free_bytes(torch.device("cpu")) == 300 < unbounded


def test_where_nobody_says_what_is_free_there_is_no_bound(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    assert free_bytes(torch.device("cpu")) == sys.maxsize
    (tmp_path / "meminfo").write_text("MemAvailable:       2 kB\n")
    assert free_bytes(torch.device("cpu")) == 2048
