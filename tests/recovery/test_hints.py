"""What weights that no formula gives go with."""

from __future__ import annotations

import numpy as np
import torch

from suite.algebra.units import Units
from suite.recovery.hints import hints

LOSSES = np.array([0.3, 2.0, 0.7, 1.1, 0.9, 1.6])


def said(weights: list[float], batch: object = (), losses: np.ndarray = LOSSES) -> list[str]:
    column = np.array(weights)
    return list(hints(column, np.full(len(column), 1e-12), Units.of(len(column)), batch, losses))


def test_only_the_largest_losses_have_a_weight() -> None:
    assert said([0, 0.5, 0, 0, 0, 0.5]) == [
        "Only the 2 largest losses have a weight, 0.5: hard examples are chosen."
    ]


def test_weights_that_rise_or_fall_with_the_losses_are_said_to() -> None:
    assert "the larger its weight" in said(list(LOSSES**2))[0]
    assert "the smaller its weight" in said(list(1 / LOSSES))[0]


def test_one_exception_is_enough_to_say_nothing() -> None:
    weights = list(LOSSES**2)
    weights[0], weights[1] = weights[1], weights[0]
    assert said(weights) == []


def test_labels_whose_values_say_the_weights_are_named() -> None:
    labels = torch.tensor([0, 1, 0, 2, 2, 1])
    found = said([0.1, 0.3, 0.1, 0.2, 0.2, 0.3], {"x": torch.randn(6, 2), "y": labels})
    assert found[0].startswith('Samples of one value of batch["y"] have one weight')


def test_labels_that_are_all_their_own_say_nothing() -> None:
    assert said([0.1, 0.3, 0.15, 0.2, 0.25, 0.7], (torch.arange(6),)) == []


def test_equal_weights_go_with_nothing() -> None:
    assert said([0.2] * 6, (torch.tensor([0, 0, 1, 1, 2, 2]),)) == []
