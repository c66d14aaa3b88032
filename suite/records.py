"""The record of a run: JSON Lines, one self-describing row a measurement, written as it is measured."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from suite.errors import UsageError

SCHEMA = 1
FILE = "records.jsonl"


class Recorder:
    """Appends rows to `records.jsonl` in a folder, each on disk before the next is measured.

    Raises:
        UsageError: The folder cannot be written, or holds a run already.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("x", encoding="utf-8")
        except FileExistsError:
            if folder.is_dir():
                raise UsageError(
                    f"{folder} holds a run already: choose another --output, or remove {self.path}"
                ) from None
            raise UsageError(f"{folder} is a file: choose another --output") from None
        except OSError as error:
            raise UsageError(
                f"cannot write to {folder} ({error.strerror}): choose another --output"
            ) from None

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row.

        Raises:
            UsageError: The disk refuses it; the rows before it are kept.
        """
        try:
            self._file.write(json.dumps(plain({"schema": SCHEMA, **row})) + "\n")
            self._file.flush()
        except OSError as error:
            raise UsageError(
                f"cannot go on writing {self.path} ({error.strerror}): what was measured before is kept"
            ) from None

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def plain(value: Any) -> Any:
    """`value` in what JSON has: numbers that are not finite become null, whose reason stands beside."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
