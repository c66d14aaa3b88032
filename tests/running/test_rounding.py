"""What rounding does to literal loops."""

from __future__ import annotations

import torch

from cases import cases
from suite.conventions import conventions
from suite.loops.loop import Loop
from suite.running import rounding
from suite.running.plan import Cell
from suite.running.rounding import (
    LARGE_MODEL,
    Precision,
    affordable,
    precisions,
    reference_gradients,
    relative_distance,
    sizes_of_difference,
)

CPU = torch.device("cpu")


def test_loops_that_are_equal_differ_by_the_rounding_of_their_dtype() -> None:
    problem = cases["cross-entropy-mlp"].build()
    cell = Cell(32, "0", torch.arange(27))
    batch = cell.take(problem, CPU, torch.float64)
    loop = Loop(problem.model().double(), batch, problem.losses, cell.units(problem, batch))
    pair = [conventions["window-exact"], conventions["mean"]]
    apart = {}
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        found = dict(reference_gradients(loop, pair, Precision("", dtype)))
        assert all(gradient.dtype == torch.float64 for gradient in found.values())
        relative = relative_distance(*sizes_of_difference(found["window-exact"], found["mean"], 1.0).tolist())
        apart[dtype] = relative / torch.finfo(dtype).eps
    assert all(0.01 < digits < 100 for digits in apart.values())
    assert next(loop.model.parameters()).dtype == torch.float64


def test_a_zero_gradient_has_no_relative_distance() -> None:
    sizes = sizes_of_difference(torch.zeros(2), torch.ones(2), 1.0).tolist()
    assert relative_distance(*sizes) is None


def test_the_dtype_asked_for_comes_first_and_tf32_only_where_it_is() -> None:
    names = [p.name for p in precisions(CPU, torch.float32)]
    assert names == ["", "bfloat16"]
    assert [p.name for p in precisions(CPU, torch.bfloat16)] == [""]


def test_bfloat16_is_left_out_of_large_models_on_a_processor_without_instructions_for_it(monkeypatch) -> None:
    both, asked = precisions(CPU, torch.float32), precisions(CPU, torch.bfloat16)
    monkeypatch.setattr(rounding, "_computes_bfloat16", lambda: False)
    assert [p.name for p in affordable(both, CPU, LARGE_MODEL)] == [""]
    assert affordable(both, CPU, LARGE_MODEL - 1) == both
    assert affordable(both, torch.device("cuda"), LARGE_MODEL) == both
    assert affordable(asked, CPU, LARGE_MODEL) == asked
    monkeypatch.setattr(rounding, "_computes_bfloat16", lambda: True)
    assert affordable(both, CPU, LARGE_MODEL) == both
