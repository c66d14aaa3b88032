"""Class weights that stand nowhere in the batch are a formula with a table, and never told by chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from suite.algebra.units import Units
from suite.recovery import recover
from suite.recovery.label_weights import MOST_LIKELY_CHANCE, by_label

WEIGHTS = torch.tensor([1.0, 2.0, 0.5, 4.0], dtype=torch.float64)
CLASSES = torch.tensor([0, 1, 3, 2, 0, 0, 1, 2, 0, 1, 3])


def entropy(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1], reduction="none")


def said(step, losses=entropy, labels=CLASSES, **options) -> str:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 4)).double()
    return str(recover(step, model, (torch.randn(len(labels), 6).double(), labels), losses, **options))


@pytest.mark.parametrize(
    ("reduction", "over", "formula", "name"),
    [
        ("mean", 1, "w_y/Σw", "weighted-mean"),
        ("sum", 11, "w_y/n", "sum-over-batch-size"),
        ("sum", 1, "w_y", "weighted-sum"),
    ],
)
def test_class_weights_of_a_criterion_are_a_table_over_what_they_are_divided_by(
    reduction: str, over: int, formula: str, name: str
) -> None:
    criterion = nn.CrossEntropyLoss(weight=WEIGHTS, reduction=reduction)

    def step(model, batch):
        (criterion(model(batch[0]), batch[1]) / over).backward()

    factor = ", up to a common factor" if formula == "w_y/Σw" else ""
    text = said(step)
    assert f"the weights are {formula}." in text
    assert f"each value of batch[1]{factor}: 1 for 0, 2 for 1, 0.5 for 2, 4 for 3. With these" in text
    units = Units.of(11, {"weight": WEIGHTS[CLASSES].numpy()})
    assert f"With these in the column 'weight' of the units table, the step is {name}." in text
    assert f"the weights are those of {name}" in said(step, units=units)


def test_the_weight_of_positive_targets_is_one_of_two() -> None:
    labels = torch.tensor([0, 1, 0, 0, 0, 1, 1, 0, 1, 0, 0], dtype=torch.float64)

    def losses(model, batch):
        return F.binary_cross_entropy_with_logits(model(batch[0])[:, 0], batch[1], reduction="none")

    def step(model, batch):
        positive = torch.tensor(3.0, dtype=torch.float64)
        F.binary_cross_entropy_with_logits(model(batch[0])[:, 0], batch[1], pos_weight=positive).backward()

    text = said(step, losses, labels)
    assert "the weights are w_y/n." in text
    assert "w_y is one weight for each value of batch[1]: 1 for 0, 3 for 1." in text


def test_weights_of_tokens_by_their_label_are_told() -> None:
    torch.manual_seed(0)
    labels = torch.tensor([[0, 2, 1, 0, 2], [1, 1, 0, 2, 0], [2, 0, 0, 1, 1]])
    weights = torch.tensor([0.1, 1.0, 2.5], dtype=torch.float64)
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 3)).double()

    def losses(model, batch):
        return F.cross_entropy(model(batch[0]).transpose(1, 2), batch[1], reduction="none")

    def step(model, batch):
        F.cross_entropy(model(batch[0]).transpose(1, 2), batch[1], weight=weights).backward()

    text = str(recover(step, model, (torch.randn(3, 5, 8).double(), labels), losses))
    assert "the weights are w_y/Σw." in text
    assert "0.04 for 0, 0.4 for 1, 1 for 2" in text


@pytest.mark.parametrize(
    ("labels", "weights"),
    [
        ([0, 0, 0, 1, 1, 1, 1, 1], [1 / 6] * 3 + [1 / 10] * 5),  # micro-batches in the order of labels
        ([0, 1] * 4, [0.1, 0.15] * 4),  # two ranks that take turns
        ([0, 1, 0, 2], [0.1, 0.3, 0.1, 0.2]),  # few samples
        ([5, 5, 5, 5, 5, 2], [0, 0, 0, 0, 0, 1]),  # one sample that differs
    ],
)
def test_what_the_order_or_chance_could_do_is_no_table(labels, weights) -> None:
    column = np.array(weights, dtype=float)
    assert by_label(column, np.full(len(column), 1e-12), Units.of(len(column)), torch.tensor(labels)) is None


def test_labels_that_have_nothing_to_do_with_the_weights_are_told_less_often_than_allowed() -> None:
    random, told = np.random.default_rng(0), 0
    for _ in range(2000):
        n, kinds = int(random.integers(4, 13)), int(random.integers(2, 4))
        column = random.choice([0.1, 0.25, 0.5], n)
        labels = torch.from_numpy(random.integers(0, kinds, n))
        told += by_label(column, np.full(n, 1e-12), Units.of(n), labels) is not None
    assert told <= 2000 * MOST_LIKELY_CHANCE
