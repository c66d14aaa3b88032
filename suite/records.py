"""The record of a run: JSON Lines, one self-describing row a measurement, written as it is measured."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from suite.errors import UsageError, one_line

SCHEMA = 1
FILE = "records.jsonl"

_PAIR = ("case", "batch_size", "batch", "convention", "reference", "scale", "residual", "verdict")
NEEDED = {
    "environment": ("started", "gradsuite", "torch", "device", "dtype", "seed", "reference"),
    "discrepancy": (*_PAIR, "samples", "units", "quantities", "refused", "reason", "relative_discrepancy"),
    "pair": _PAIR,
    "noise": ("case", "batch_size", "batch", "samples", "trace", "square"),
    "proof": ("case", "batch_size", "samples", "convention", "reference", "optimizer", "steps"),
    "claim": ("case", "claim", "claimed", "measured", "verdict", "numbers"),
    "omitted": ("case", "convention", "reason"),
    "failure": ("case", "reason"),
}
"""What a reader relies on, by kind of row."""


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


def read(run: Path) -> list[dict[str, Any]]:
    """The rows of a run.

    Args:
        run: its folder, or the file of its records.

    Raises:
        UsageError: There are none, or a row is torn, foreign, edited or of a later version; the message
            names the file and the row.
    """
    path = run / FILE if run.is_dir() else run
    if not path.is_file():
        raise UsageError(f"{run} holds no run: give the folder of one, in which there is {FILE}")
    rows = []
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                rows.append(_row(line, f"{path}, row {number}"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {one_line(error)}") from None
    if not rows or rows[0]["kind"] != "environment":
        raise UsageError(f"{path} is no record of a run: its first row must be of kind 'environment'")
    return rows


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        raise UsageError(f"{where} is torn or was edited: it is no JSON; remove it, or run again") from None
    if not isinstance(row, dict) or not isinstance(row.get("kind"), str):
        raise UsageError(f"{where} is no record of gradsuite: an object with a 'kind' is needed")
    if row.get("schema") != SCHEMA:
        raise UsageError(
            f"{where} has schema {row.get('schema')!r}, this gradsuite reads {SCHEMA}: "
            "use the version that wrote it"
        )
    missing = [key for key in NEEDED.get(row["kind"], ()) if key not in row]
    if missing:
        raise UsageError(f"{where}, of kind {row['kind']!r}, lacks {', '.join(missing)}: it was edited")
    return row


def plain(value: Any) -> Any:
    """`value` in what JSON has: numbers that are not finite become null, whose reason stands beside."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
