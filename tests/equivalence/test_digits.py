from __future__ import annotations

import pytest
import torch

from suite.equivalence.digits import digits
from suite.equivalence.scales import Sizes, scale_between


def gradient(problem, backward, step):
    problem.model.zero_grad()
    loss = backward(problem.model, step)
    return loss, torch.cat([p.grad.flatten() for p in problem.model.parameters()])


@pytest.mark.parametrize(
    ("source", "target", "sizes"),
    [
        ("sum", "mean", Sizes(5)),
        ("mean", "element-mean", Sizes(4, elements=3)),
        ("mean", "sum-of-microbatch-means", Sizes(6, elements=2, microbatches=3)),
        ("sum", "mean-of-rank-means", Sizes(6, ranks=2)),
        ("token-mean", "constant-normaliser", Sizes(4, elements=3, max_elements=7)),
        ("mean", "expected-batch-size", Sizes(6, expected_batch_size=8.5)),
    ],
)
def test_the_literal_loops_differ_by_the_scale(source, target, sizes):
    problem, units = digits(sizes), sizes.units()
    scale = float(scale_between(source, target, sizes).scale)
    for step in (0, 7):
        loss, old = gradient(problem, problem.follow(source, units), step)
        scaled, new = gradient(problem, problem.follow(target, units), step)
        torch.testing.assert_close(new, scale * old, rtol=1e-12, atol=1e-15)
        assert scaled.item() == pytest.approx(scale * loss.item())


def test_the_loss_that_is_returned_is_the_one_whose_gradient_is_left():
    sizes = Sizes(4, elements=3)
    problem = digits(sizes)
    backward = problem.follow("element-mean", sizes.units())
    first = next(problem.model.parameters())
    loss, whole = gradient(problem, backward, 0)
    with torch.no_grad():
        first[0, 30] += 1e-6
    more, _ = gradient(problem, backward, 0)
    assert (more - loss).item() / 1e-6 == pytest.approx(whole[30].item(), rel=1e-3)


def test_the_problem_is_the_same_each_time_and_leaves_the_global_seed_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first, second = digits(Sizes(4)), digits(Sizes(4))
    assert torch.equal(torch.rand(1), expected)
    assert all(map(torch.equal, first.model.parameters(), second.model.parameters()))
    assert torch.equal(first.batch(3)[0], second.batch(3)[0])


def test_the_data_are_real_and_every_output_has_something_to_learn():
    problem = digits(Sizes(16, elements=40))
    assert problem.inputs.shape == (1797, 64)
    assert (problem.targets.std(0) > 0).float().mean() > 0.85


def test_batches_go_on_after_the_end_of_the_data():
    problem = digits(Sizes(1000))
    inputs, _ = problem.batch(1)
    assert inputs.shape == (1000, 64)
    assert torch.equal(inputs[-1], problem.inputs[202])


def test_a_scaled_loop_has_a_scaled_gradient():
    problem = digits(Sizes(4))
    _, old = gradient(problem, problem.scaled(1), 2)
    loss, new = gradient(problem, problem.scaled(8), 2)
    assert torch.equal(new, 8 * old)
    assert loss.item() == pytest.approx(8 * problem.scaled(1)(problem.model, 2).item())
