"""Writing what was made: a file that cannot be written is one clear line."""

from __future__ import annotations

from pathlib import Path

from suite.errors import UsageError

RECORDS = ("records.jsonl", "records.jsonl.gz")
"""What the files of records are called."""


def require_other(out: Path, read: Path) -> None:
    """Make sure that what is written is not what it is made of.

    Args:
        out: the file that is to be written.
        read: the file, or the folder of the run, that is read.

    Raises:
        UsageError: It is.
    """
    try:
        sources = [read, *(read / name for name in RECORDS)]
        same = out.exists() and any(source.exists() and out.samefile(source) for source in sources)
    except (OSError, ValueError):  # whoever reads or writes it says what is wrong
        return
    if same or out.name in RECORDS:
        raise UsageError(f"--out is {out}, a file of records, which would be lost: choose another --out")


def write(path: Path, content: str | bytes, advice: str = "choose another --out") -> None:
    """Write `content`, making the folder; where that fails, `advice` says what to do.

    Raises:
        UsageError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode(errors="replace") if isinstance(content, str) else content)
    except (OSError, ValueError) as error:  # no system has a name with a NUL in it
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot write {path} ({reason}): {advice}") from None
