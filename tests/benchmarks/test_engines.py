"""What the gradients of the units cost, as a multiple of one forward and backward pass of the batch.

Both are timed in the same process, in turn, so that the ratio holds on a noisy machine; it is in
`extra_info` of the JSON that pytest-benchmark writes.
"""

from __future__ import annotations

import statistics
import time

import pytest
import torch

from cases import cases
from suite.engines.compute import gradients
from suite.plan import Cell

ROUNDS = 7


def seconds(action) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


@pytest.mark.parametrize("engine", ["opacus", "torch-func"])
@pytest.mark.parametrize("name", ["cross-entropy-mlp", "cross-entropy-convolution", "next-token"])
def test_gram_matrix_against_one_backward_pass(benchmark, name: str, engine: str) -> None:
    problem = cases[name].build()
    model = problem.model()
    batch = Cell(32, "0", torch.arange(32)).take(problem, torch.device("cpu"), torch.float32)

    def ordinary() -> None:
        model.zero_grad()
        problem.losses(model, batch).mean().backward()

    def gram() -> None:
        gradients(model, batch, problem.losses, engine=engine).gram()

    ordinary()
    benchmark.pedantic(gram, rounds=ROUNDS, warmup_rounds=1)
    pairs = [(seconds(gram), seconds(ordinary)) for _ in range(ROUNDS)]
    benchmark.extra_info["times one forward and backward pass, with the check"] = statistics.median(
        a / b for a, b in pairs
    )
