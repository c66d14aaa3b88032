"""Hypothesis strategies: random units tables with a model whose units have known gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from suite.batch import Batch
from suite.protocols import Loop
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
