"""Who writes the record: all of an item or nothing, after what is there, one run at a time."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.errors import UsageError
from suite.records.file import read, read_log
from suite.records.writer import Recorder
from tests.made_up import record_environment, record_row

ENVIRONMENT = record_environment()


def done(item: str, fingerprint: str = "") -> dict:
    return {"item": item, "work": item, "fingerprint": fingerprint or item, "index": 0}


def silent(line: str) -> None:
    """Nobody listens."""


def fill(folder: Path, *items: str) -> None:
    with Recorder(folder, silent) as recorder:
        for item in items:
            recorder.write([record_row(batch=item)], done(item), ENVIRONMENT)


def test_an_item_is_on_disk_before_the_next(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run", silent) as recorder:
        recorder.write([record_row()], done("a"), ENVIRONMENT)
        assert read(tmp_path / "run") == [ENVIRONMENT, record_row()]


def test_a_folder_with_a_run_is_gone_on_with(tmp_path: Path) -> None:
    fill(tmp_path, "a")
    with Recorder(tmp_path, silent) as recorder:
        assert recorder.find("a") == [record_row(batch="a")]
        assert recorder.find("b") is None
        assert recorder.environments == [ENVIRONMENT]
        recorder.write([record_row(batch="b")], done("b"), ENVIRONMENT)
    assert [row["kind"] for row in read(tmp_path)] == ["environment", "discrepancy", "discrepancy"]


def test_a_failure_is_measured_again(tmp_path: Path) -> None:
    with Recorder(tmp_path, silent) as recorder:
        recorder.write([record_row("failure", reason="why")], done("a"), ENVIRONMENT)
    with Recorder(tmp_path, silent) as recorder:
        assert recorder.find("a") is None


def test_a_change_that_was_taken_back_is_measured_again(tmp_path: Path) -> None:
    with Recorder(tmp_path, silent) as recorder:
        for fingerprint, scale in (("old", 2.0), ("new", 3.0)):
            recorder.write([record_row(scale=scale)], done("a", fingerprint), ENVIRONMENT)
    with Recorder(tmp_path, silent) as recorder:
        assert recorder.find("old") is None  # readers are shown the new one
        assert recorder.find("new") == [record_row(scale=3.0)]


@given(cut=st.integers(1, 10_000))
def test_killed_at_any_byte_it_goes_on_after_the_last_finished_item(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("run")
    fill(folder, "a", "b", "c")
    path = folder / "records.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[: cut % len(whole)])
    with Recorder(folder, silent) as recorder:
        for item in "abc":
            if recorder.find(item) is None:
                recorder.write([record_row(batch=item)], done(item), ENVIRONMENT)
    assert path.read_bytes() == whole


def test_a_torn_end_is_told_and_cut_off(tmp_path: Path) -> None:
    fill(tmp_path, "a", "b")
    path = tmp_path / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    said: list[str] = []
    with Recorder(tmp_path, said.append):
        pass
    assert len(said) == 1
    assert "is cut off: the run was killed while it wrote; it is measured again" in said[0]
    assert len(read_log(tmp_path).blocks) == 1


@pytest.mark.parametrize("content", [b"hello\n", b"hello", b'{"schema": 1, "kind": "environment"}\n'])
def test_what_is_not_ours_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "records.jsonl").write_bytes(content)
    with pytest.raises(UsageError, match=r"records\.jsonl"):
        Recorder(tmp_path, silent)
    assert (tmp_path / "records.jsonl").read_bytes() == content
    (tmp_path / "records.jsonl").unlink()
    with Recorder(tmp_path, silent):  # and the lock was let go of
        pass


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(UsageError, match="is a file: choose another --output"):
        Recorder(tmp_path / "taken", silent)


def test_a_second_run_waits_for_the_first(tmp_path: Path) -> None:
    said: list[str] = []
    found: list[object] = []

    def second() -> None:
        with Recorder(tmp_path, said.append) as recorder:
            found.append(recorder.find("a"))

    with Recorder(tmp_path, silent) as recorder:
        other = threading.Thread(target=second)
        other.start()
        other.join(0.3)
        assert other.is_alive()
        recorder.write([record_row()], done("a"), ENVIRONMENT)
    other.join(10)
    assert said == [f"Another run writes to {tmp_path}: waiting for it to end, to go on with what it leaves."]
    assert found == [[record_row()]]


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", tmp_path],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)  # noqa: S607


def write_until_full(folder: Path) -> int:
    """How many items of five rows there was room for."""
    with Recorder(folder, silent) as recorder:
        for count in range(1000):
            before = recorder.path.read_bytes()
            rows = [record_row(batch=f"{count} {k}") for k in range(5)]
            try:
                recorder.write(rows, done(str(count)), ENVIRONMENT)
            except UsageError:
                assert recorder.path.read_bytes() == before
                with pytest.raises(UsageError, match="is kept; make room, and the same command goes on"):
                    recorder.write(rows, done(str(count)), ENVIRONMENT)
                return count
    raise AssertionError("it never was full")


def test_on_a_full_disk_the_message_is_clear_and_what_was_written_is_readable(tmpfs: Path) -> None:
    count = write_until_full(tmpfs)
    assert count > 1
    assert len(read(tmpfs)) == 1 + 5 * count


def test_the_same_where_a_file_may_not_grow(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (32_000, limits[1]))
    try:
        count = write_until_full(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert len(read(tmp_path)) == 1 + 5 * count


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="cannot write to"):
        Recorder(tmp_path / "run", silent)


def test_a_record_that_cannot_be_opened_leaves_the_folder_unlocked(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").mkdir()
    with pytest.raises(UsageError, match="Is a directory"):
        Recorder(tmp_path, silent)
    (tmp_path / "records.jsonl").rmdir()
    fill(tmp_path, "a")


def test_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise NotImplementedError("no locks here")

    monkeypatch.setattr("suite.records.writer.FileLock.acquire", refuse)
    with pytest.raises(UsageError, match="no locks here"):
        Recorder(tmp_path, silent)
