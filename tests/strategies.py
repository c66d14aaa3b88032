"""Hypothesis strategies: random units tables with a model whose units have known gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from suite.batch import Batch
from suite.protocols import Loop
from suite.schema import SCHEMA, name_of
from suite.units import Units


class Plane(nn.Module):
    """Parameters and nothing else: every loss is linear in them, so gradients can be chosen."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(start.clone())


@dataclass(frozen=True)
class Example:
    """A units table and a model in which unit `u` has the gradient `rows[u]`."""

    units: Units
    loop: Loop
    rows: np.ndarray

    @property
    def gram(self) -> np.ndarray:
        return self.rows @ self.rows.T


def linear_losses(model: nn.Module, batch: Batch) -> Tensor:
    """`[samples, parts]`, unit u's loss being `⟨g_u, θ⟩`."""
    return batch["gradient"] @ model.theta


def half_square(model: nn.Module) -> Tensor:
    """`½‖θ‖²`, whose gradient is θ."""
    return 0.5 * model.theta.square().sum()


@st.composite
def examples(draw: st.DrawFn) -> Example:
    """Random tables: parts, uneven and empty elements, zero weights, ragged groups, a regulariser."""
    n = draw(st.integers(1, 6))
    parts = draw(st.integers(1, 3))
    params = draw(st.integers(1, 4))
    counts = st.integers(0, 4)
    elements = np.array(draw(st.lists(counts, min_size=n * parts, max_size=n * parts))).reshape(n, parts)
    numbers = st.floats(-4, 4, allow_subnormal=False, width=16)
    size = n * parts * params
    flat = draw(st.lists(numbers, min_size=size, max_size=size))
    gradient = np.array(flat).reshape(n, parts, params) * (elements > 0)[..., None]
    weight = draw(st.lists(st.sampled_from([0.0, 0.25, 1.0, 3.0]), min_size=n, max_size=n))
    per_microbatch, per_rank = draw(st.integers(1, n)), draw(st.integers(1, n))
    regulariser = draw(st.booleans())
    start = np.array(draw(st.lists(numbers, min_size=params, max_size=params)))
    several = parts > 1
    units = Units.of(
        n,
        {
            "elements": elements,
            "positions": elements + draw(st.integers(0, 3)),
            "weight": weight,
            "microbatch": np.arange(n) // per_microbatch,
            "rank": np.arange(n) // per_rank,
            **({"term_weight": np.arange(parts) + 0.5} if several else {}),
        },
        parts=tuple(f"part{p}" for p in range(parts)) if several else (),
        part_kind=draw(st.sampled_from(["terms", "copies"])),
        regulariser=regulariser,
        window=-(-n // per_microbatch) + draw(st.integers(0, 2)),
        world_size=-(-n // per_rank) + draw(st.integers(0, 2)),
        expected_batch_size=float(n + draw(st.integers(0, 3))),
        max_elements=8,
        max_norm=draw(st.sampled_from([0.125, 1.0, 100.0])),
        added_to_norm=draw(st.sampled_from([0.0, 1e-6, 0.5])),
    )
    loop = Loop(
        Plane(torch.from_numpy(start)),
        {"gradient": torch.from_numpy(gradient)},
        linear_losses,
        units,
        half_square if regulariser else None,
    )
    rows = gradient.reshape(n * parts, params)
    return Example(units, loop, np.vstack([rows, start]) if regulariser else rows)


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
    """Finished items as `suite.records.encode` takes them, the first with the environment."""
    environment = record_environment()
    blocks = []
    for k in range(draw(st.integers(1, 4))):
        numbers = draw(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3))
        rows = [record_row(batch=str(k), convention=f"c{j}", scale=x) for j, x in enumerate(numbers)]
        done = {"environment": environment["environment"], "item": f"item {k}", "work": str(k)}
        blocks.append((rows, {**done, "fingerprint": str(k), "index": k}, [] if k else [environment]))
    return blocks
