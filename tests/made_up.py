"""Rows of records that were made up, of the fields that are declared."""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from hypothesis import strategies as st

from suite.records.declaration import NO_DEFAULT
from suite.records.fields import SCHEMA, Row, recorded
from suite.records.schema import name_of


def record_environment(**changes: object) -> Row:
    """A row of kind `environment` as runs write it."""
    row: Row = {
        "gradsuite": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "opacus": "1.6.0", "numpy": "2.4.6",
        "device": "cpu", "device_name": "x86_64", "driver": None, "threads": 1, "deterministic": True,
        "tf32": False, "commit": None, "dirty": None, "reference": "mean", "engine": "opacus",
        "dtype": "float32", "seed": 0,
    }  # fmt: skip
    row |= changes
    return {"schema": SCHEMA, "kind": "environment", "environment": name_of(row), **row}


KNOWN: Row = {
    "schema": SCHEMA, "environment": record_environment()["environment"], "case": "mse", "batch_size": 2,
    "batch": "0", "samples": 2, "units": 2, "params": 193, "engine": "opacus", "quantities": {"n": 2},
    "convention": "sum", "reference": "mean", "scale": 2.0, "cosine": 1.0, "relative_discrepancy": 1.0,
    "residual": 0.0, "max_abs": 0.5, "rounding": 1e-8, "verdict": "scale", "reason": "",
    "protocol_error": 1e-17, "magnification": 1.5, "device": "cpu", "dtype": "float32", "seed": 0,
    "optimizer": "SGD", "started": "2026-01-01T00:00:00.000+00:00", "seconds": 0.1, "peak_memory": 1,
}  # fmt: skip
"""What a made-up row says unless told otherwise: the sum over two samples against the mean."""


def record_row(kind: str = "discrepancy", **changes: object) -> Row:
    """A row of this kind as runs write it: each field that it must have, and `changes`."""
    needed = [field for field in recorded(kind) if field.default is NO_DEFAULT]
    return {"kind": kind, **{f.name: KNOWN.get(f.name, some(f.type)) for f in needed}, **changes}


def some(type_: Any) -> Any:
    """A value that a field of this type accepts."""
    origin, inner = get_origin(type_), get_args(type_)
    if origin in (Annotated, Union, types.UnionType, Literal):
        return inner[0] if origin is Literal else some(inner[0])
    return {str: "x", int: 1, float: 0.5, bool: True}.get(type_) if origin is None else origin()


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
