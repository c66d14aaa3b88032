"""Rows of records that were made up."""

from __future__ import annotations

from hypothesis import strategies as st

from suite.records.schema import SCHEMA, name_of


def record_environment(**changes: object) -> dict[str, object]:
    """A row of kind `environment` as runs write it."""
    row: dict[str, object] = {
        "gradsuite": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "opacus": "1.6.0", "numpy": "2.4.6",
        "device": "cpu", "device_name": "x86_64", "driver": None, "threads": 1, "deterministic": True,
        "tf32": False, "commit": None, "dirty": None, "reference": "mean", "engine": "opacus",
        "dtype": "float32", "seed": 0,
    }  # fmt: skip
    row |= changes
    return {"schema": SCHEMA, "kind": "environment", "environment": name_of(row), **row}


def record_row(**changes: object) -> dict[str, object]:
    """A row of kind `discrepancy` as runs write it: the sum over two samples against the mean."""
    return {
        "schema": SCHEMA, "kind": "discrepancy", "environment": record_environment()["environment"],
        "case": "mse", "batch_size": 2, "batch": "0", "samples": 2, "units": 2, "params": 193,
        "engine": "opacus", "refused": {}, "quantities": {"n": 2}, "convention": "sum", "reference": "mean",
        "scale": 2.0, "cosine": 1.0, "relative_discrepancy": 1.0, "residual": 0.0, "max_abs": 0.5,
        "rounding": 1e-8, "verdict": "scale", "reason": "", "protocol_error": 1e-17, "magnification": 1.5,
        "device": "cpu", "dtype": "float32", "seed": 0,
        "started": "2026-01-01T00:00:00.000+00:00", "seconds": 0.1, "peak_memory": 1, **changes,
    }  # fmt: skip


@st.composite
def record_blocks(draw: st.DrawFn) -> list[tuple[list, dict, list]]:
    """Finished items as `suite.records.file.encode` takes them, the first with the environment."""
    environment = record_environment()
    blocks = []
    for k in range(draw(st.integers(1, 4))):
        numbers = draw(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3))
        rows = [record_row(batch=str(k), convention=f"c{j}", scale=x) for j, x in enumerate(numbers)]
        done = {"environment": environment["environment"], "item": f"item {k}", "work": str(k)}
        blocks.append((rows, {**done, "fingerprint": str(k), "index": k}, [] if k else [environment]))
    return blocks
