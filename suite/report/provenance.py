"""What a run says of itself, whether in its environment or in each of its rows."""

from __future__ import annotations

from collections.abc import Sequence

from suite.records.fields import Row

_PACKAGES = ("torch", "opacus", "numpy")


def started(rows: Sequence[Row]) -> str:
    """When the first row was begun; empty where none says so."""
    return min((str(row["started"]) for row in rows if row.get("started")), default="")


def said(rows: Sequence[Row], key: str) -> str:
    """The values of `key` in the rows, each once; empty where none has it."""
    return ", ".join(dict.fromkeys(str(row[key]) for row in rows if row.get(key) is not None))


def versions_line(environment: Row) -> str:
    """The suite with its commit, and the packages that a number depends on."""
    commit = f" (commit {environment['commit']})" if environment.get("commit") else ""
    if environment.get("dirty") and not str(environment.get("commit")).endswith("-dirty"):
        commit = f"{commit[:-1]}, changed since)" if commit else ""
    packages = [f"{name} {environment[name]}" for name in _PACKAGES if environment.get(name)]
    return ", ".join([f"gradsuite {environment['gradsuite']}{commit}", *packages])


def provenance(environment: Row, rows: Sequence[Row]) -> str:
    """Versions, commit, device, format, seed and day of a run, in one line.

    Args:
        environment: its machine and versions.
        rows: all of its rows.
    """
    device = environment["device"]
    if environment.get("device_name"):
        device = f"{device} ({environment['device_name']})"
    settings = [device, said(rows, "dtype")]
    if said(rows, "seed"):
        settings.append(f"seed {said(rows, 'seed')}")
    parts = [versions_line(environment), ", ".join(filter(None, settings)), started(rows)[:10]]
    return "; ".join(filter(None, parts)) + "."
