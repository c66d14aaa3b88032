"""What `gradsuite bench` measured, as a table."""

from __future__ import annotations

from typing import Any

from suite.machine.terminal import wrapped


def table_of(rows: list[dict[str, Any]], room: int | None) -> str:
    """A table, or one for each case where `room` has no columns for its name beside the numbers.

    Args:
        rows: one a case and engine.
        room: the columns of the terminal; None where they are not known.
    """
    lines = _lines(rows)
    if room is not None and max(map(len, lines)) > room:
        lines = []
        for case in dict.fromkeys(row["case"] for row in rows):
            own = [row for row in rows if row["case"] == case]
            head = f"{case}: {own[0]['units']} units, {own[0]['params']} parameters"
            lines += [head, "", *_lines(own, without=3), ""]
    for case, row in {row["case"]: row for row in rows if "ordinary" in row}.items():
        memory = "" if row["ordinary_peak"] is None else f", {row['ordinary_peak'] / 1e6:.1f} MB"
        lines.append(f"1 × of {case}: one forward and backward pass, {row['ordinary'] * 1e3:.2f} ms{memory}")
    return wrapped("\n".join(lines), room)


def _lines(rows: list[dict[str, Any]], *, without: int = 0) -> list[str]:
    """Header and rows, without their first columns."""
    header = (
        "case", "units", "params", "engine",
        "tables", "checked", "and gradients", "checked", "peak memory",
    )  # fmt: skip
    lines = [header]
    for row in rows:
        pieces = f" ({row['chunks']} pieces)" if row.get("chunks", 1) > 1 else ""
        start = (row["case"], str(row["units"]), str(row["params"]), row["engine"] + pieces)
        if "refused" in row:
            lines.append((*start, f"refused: it {row['refused']}", "", "", "", ""))
            continue
        memory = "–" if row["peak"] is None else f"{row['peak'] / 1e6:.1f} MB"
        kinds = ("tables", "tables_checked", "reduced", "reduced_checked")
        lines.append((*start, *(f"{row[kind]:.2f} ×" for kind in kinds), memory))
    widths = [
        max(len(line[k]) for line in lines if not line[4].startswith("refused")) for k in range(len(header))
    ]
    cells = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    return ["  ".join(line[without:]).rstrip() for line in cells]
