"""The tools of a literal loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from cases import cases
from suite.loops.batch import size
from suite.loops.loop import Loop, run_reference_loop
from suite.running.plan import Cell

CPU = torch.device("cpu")


@pytest.fixture
def loop() -> Loop:
    problem = cases["mse-plus-l1"].build()
    cell = Cell(8, "last", torch.arange(5))
    batch = cell.take(problem, CPU, torch.float64)
    return Loop(problem.model().double(), batch, problem.losses, cell.units(problem, batch))


def test_cutting_a_batch_cuts_its_losses_and_columns_alike(loop: Loop) -> None:
    whole = loop.losses()
    assert whole.shape == (5, 2)
    assert [part.n for part in loop.microbatches()] == [2, 2, 1]
    assert [part.n for part in loop.ranks()] == [4, 1]
    cut = torch.cat([part.losses() for part in loop.microbatches()])
    torch.testing.assert_close(cut, whole)
    inner = loop.ranks()[0].samples()[3]
    torch.testing.assert_close(inner.losses(), whole[3:4])
    torch.testing.assert_close(inner.column("term_weight"), loop.column("term_weight")[3:4])


def test_losses_that_are_remembered_are_prepared_at_once_for_cuts_that_cost_little_beside_each_other(
    loop: Loop,
) -> None:
    asked: list[list[int]] = []

    class Prepared:
        def __call__(self, model: torch.nn.Module, batch: Any) -> torch.Tensor:
            return loop.unreduced(model, batch)

        def prepare(self, model: torch.nn.Module, some: list[Any]) -> None:
            asked.append([size(batch) for batch in some])

    far = replace(loop, unreduced=Prepared(), home=CPU)
    far.samples()
    far.ranks()
    assert far.cuts == ("sample", "microbatch", "rank")
    assert asked == [[5, *[1] * 5, 2, 2, 1, 4, 1]]
    far = replace(far)
    far.ranks()
    assert far.cuts == ("rank", "microbatch")  # samples would be many passes for nothing
    near = replace(loop)
    near.samples()
    assert near.cuts == ("sample",)


def test_clipping_shortens_to_the_threshold_and_keeps_the_direction(loop: Loop) -> None:
    gradient = [torch.tensor([3.0]), torch.tensor([4.0])]
    assert loop.clip(gradient, 10.0) == gradient
    torch.testing.assert_close(loop.clip(gradient, 1.0), [torch.tensor([0.6]), torch.tensor([0.8])])


def test_accumulating_is_what_backward_does(loop: Loop) -> None:
    def by_backward(loop: Loop) -> None:
        for _ in range(2):
            loop.losses().sum().backward()

    def by_hand(loop: Loop) -> None:
        for _ in range(2):
            loop.accumulate(loop.gradient(loop.losses().sum()))

    assert torch.equal(run_reference_loop(by_backward, loop), run_reference_loop(by_hand, loop))


def test_a_protocol_leaves_the_gradients_of_the_model_alone(loop: Loop) -> None:
    loop.losses().sum().backward()
    before = [p.grad.clone() for p in loop.parameters]

    def fails(loop: Loop) -> None:
        loop.losses().sum().backward()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        run_reference_loop(fails, loop)
    assert all(torch.equal(p.grad, g) for p, g in zip(loop.parameters, before, strict=True))
    assert torch.equal(
        run_reference_loop(lambda loop: None, loop),
        torch.zeros(sum(p.numel() for p in loop.parameters)).double(),
    )
