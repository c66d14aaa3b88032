"""Writing what was made: a file that cannot be written is one clear line."""

from __future__ import annotations

from pathlib import Path

from suite.errors import UsageError


def write(path: Path, content: str | bytes) -> None:
    """Write `content`, making the folder.

    Raises:
        UsageError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode(errors="replace") if isinstance(content, str) else content)
    except OSError as error:
        raise UsageError(f"cannot write {path} ({error.strerror}): choose another --out") from None
