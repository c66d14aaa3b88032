"""Who writes the record of a run: one driver at a time, an item at a time, after what is there already."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from suite.errors import UsageError
from suite.records.fields import Row
from suite.records.file import COST, FILE, encode, latest, parse, row_identity

LOCK = ".lock"
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)


class Recorder:
    """Appends items to `records.jsonl` in a folder that is this run's alone meanwhile.

    A folder that another run writes to is waited for. What a killed run left unfinished is cut off, to
    be measured again.

    Args:
        folder: made where there is none.
        say: called with a line for people.

    Raises:
        UsageError: The folder cannot be written, or holds a record that is damaged or of another schema.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            what = "a link that leads nowhere" if folder.is_symlink() and not folder.exists() else "a file"
            raise UsageError(f"{folder} is {what}: choose another --output") from None
        except OSError as error:
            raise _refused(folder, error) from None
        self._lock = _acquire(folder, say)
        try:
            self._file = os.open(self.path, _FLAGS, 0o666)
            try:
                self._end = self._recover(say)
            except BaseException:
                os.close(self._file)
                raise
        except OSError as error:
            self._lock.release()
            raise _refused(folder, error) from None
        except BaseException:
            self._lock.release()
            raise

    def find(self, fingerprint: str) -> list[Row] | None:
        """The rows of the item of this fingerprint, if it was measured: a failure was not."""
        return self._done.get(fingerprint)

    @property
    def environments(self) -> list[Row]:
        """The rows of kind `environment` that the record holds."""
        return list(self._environments.values())

    def write(self, rows: list[Row], done: Row, environment: Row) -> None:
        """Append an item, all of it or nothing, and see to it that it lasts.

        Args:
            rows: what was measured.
            done: `item`, `work`, `fingerprint` and `index`.
            environment: what they name.

        Raises:
            UsageError: The disk refuses it; the items before it are kept.
        """
        name = environment["environment"]
        new = [] if name in self._environments else [environment]
        data = encode(rows, {"environment": name, **done}, new)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._end)  # nothing half-written stays
            raise UsageError(
                f"cannot go on writing {self.path} ({error.strerror}): what was measured before is kept; "
                "make room, and the same command goes on"
            ) from None
        self._end += len(data)
        self._environments[name] = environment

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)
        self._lock.release()

    def _recover(self, say: Callable[[str], None]) -> int:
        """Know what is there, cut off what is not finished, and tell where it ends."""
        log = parse(self.path.read_bytes(), self.path)
        if log.torn:
            say(f"{log.torn}; it is measured again")
            os.ftruncate(self._file, log.good)
        self._environments: dict[str, Row] = {}
        self._done: dict[str, list[Row]] = {}
        now = {row_identity(row): _found(row) for row in latest(log.blocks)}
        for block in log.blocks:
            self._environments |= {row["environment"]: row for row in block.environments}
            # What was measured again since, after a change that was taken back, would not be shown.
            shown = all(now.get(row_identity(row)) == _found(row) for row in block.rows)
            if shown and not block.failed:
                self._done[block.done["fingerprint"]] = block.rows
        return log.good


def _found(row: Row) -> Row:
    """A row without what it cost."""
    return {key: value for key, value in row.items() if key not in COST}


def _acquire(folder: Path, say: Callable[[str], None]) -> FileLock:
    lock = FileLock(folder / LOCK)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"Another run writes to {folder}: waiting for it to end, to go on with what it leaves.")
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise _refused(folder, error) from None
    return lock


def _refused(folder: Path, error: Exception) -> UsageError:
    reason = getattr(error, "strerror", None) or str(error)
    return UsageError(f"cannot write to {folder} ({reason}): choose another --output")
