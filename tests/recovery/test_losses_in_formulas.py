"""Divisors that are made of the losses themselves, and micro-batches that are counted twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from suite.algebra.units import Units
from suite.recovery import recover
from tests.recovery.others.kit import classes, entropy, network, normal, pieces
from tests.recovery.test_formulas import Tagger, text, tokens


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


@pytest.mark.parametrize(
    ("cut", "says"),
    [
        (
            {"microbatch": [0, 1, 1, 1, 2, 2, 2]},
            "1/(K·(twice the root of the mean loss of the micro-batch)·n_k)",
        ),
        ({"rank": [0, 0, 1, 1, 1, 1, 1]}, "1/(R·(twice the root of the mean loss of the rank)·n_r)"),
    ],
    ids=["micro-batches", "ranks"],
)
def test_roots_of_the_means_of_pieces_are_a_formula_in_their_losses(cut, says: str) -> None:
    batch, pieces_of = (normal(7, 6), classes(7)), torch.tensor(next(iter(cut.values())))

    def step(model, batch) -> None:
        for piece in pieces_of.unique():
            mine = pieces_of == piece
            loss = entropy(model, (batch[0][mine], batch[1][mine])).mean().sqrt()
            (loss / len(pieces_of.unique())).backward()

    units = Units.of(7, cut, **({"window": 3} if "microbatch" in cut else {"world_size": 2}))
    found = recover(step, network(), batch, entropy, units=units)
    assert str(found.formula) == says


def test_a_count_that_is_none_for_some_samples_is_a_divisor_of_at_least_one() -> None:
    """A loss per image, over its positive anchors: those of an image without any are divided by one."""
    positive = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]])

    def step(model, batch) -> None:
        (entropy(model, batch) / batch[2].sum(1).clamp(min=1)).mean().backward()

    batch = normal(5, 6), classes(5), positive
    found = recover(step, network(), batch, lambda model, batch: entropy(model, batch[:2]))
    assert str(found.formula) == "1/(n·(non-zero entries of the sample in batch[2], at least 1))"


def test_sizes_are_counted_beside_all_that_labels_hold() -> None:
    def step(model, batch) -> None:
        (tokens(model, batch).sum() / batch["ids"].shape[1]).backward()

    batch = text((4, 9, 6, 3))
    found = recover(step, Tagger(), batch, lambda model, batch: tokens(model, batch).sum(1))
    assert 'The divisor is 9, the size of axis 1 of batch["ids"].' in str(found)


def test_entries_of_two_tensors_of_one_size_are_named_together() -> None:
    batch = normal(5, 6), normal(5, 6, seed=3)

    def losses(model, batch) -> Tensor:
        return (model(batch[0]).mean(1, keepdim=True) - batch[1]).square().sum(1)

    shown = str(
        recover(lambda m, b: (losses(m, b).sum() / b[1].numel()).backward(), network(), batch, losses)
    )
    assert "The divisor is 30, the number of entries of batch[0] or of batch[1]." in shown
    assert "size of axis" not in shown  # the entries are n times it


def test_a_micro_batch_that_is_counted_twice_is_no_two_micro_batches() -> None:
    def step(model, batch) -> None:
        total = 0
        for piece in pieces(batch, 4, 8):
            total = total + entropy(model, piece).mean()
            total.backward(retain_graph=True)

    assert "runs of" not in str(recover(step, network(), (normal(8, 6), classes(8)), entropy))
