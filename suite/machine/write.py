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
    except (OSError, ValueError) as error:  # no system has a name with a NUL in it
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot write {path} ({reason}): choose another --out") from None
