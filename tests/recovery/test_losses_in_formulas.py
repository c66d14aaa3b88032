"""Divisors that are made of the losses themselves, and micro-batches that are counted twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor

from suite.recovery import recover
from tests.recovery.others.kit import classes, entropy, network, normal, pieces


@pytest.mark.parametrize(
    ("reduce", "formula", "divisor"),
    [
        (lambda each: each.mean().sqrt(), "1/(2·n·", "the root of the mean loss"),
        (lambda each: each.mean() / each.mean().detach(), "1/(n·", "the mean of the losses"),
    ],
    ids=["a root of a mean", "a mean over its own value"],
)
def test_a_divisor_made_of_the_losses_is_named(
    reduce: Callable[[Tensor], Tensor], formula: str, divisor: str
) -> None:
    batch = normal(8, 6), classes(8)
    text = str(recover(lambda m, b: reduce(entropy(m, b)).backward(), network(), batch, entropy))
    assert f"the weights are {formula}" in text
    assert divisor in text


def test_a_micro_batch_that_is_counted_twice_is_no_two_micro_batches() -> None:
    def step(model, batch) -> None:
        total = 0
        for piece in pieces(batch, 4, 8):
            total = total + entropy(model, piece).mean()
            total.backward(retain_graph=True)

    assert "runs of" not in str(recover(step, network(), (normal(8, 6), classes(8)), entropy))
