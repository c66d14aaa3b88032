"""Advice is for every group of parameters, and says for which batches its numbers hold."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from suite.algebra.units import Units
from suite.recovery import assert_convention
from tests.recovery.steps import losses, mean, setting, weighted

GIVEN = setting(8)
SUM = weighted([1.0] * 8)


def failure(step, name="mean", **options) -> str:
    with pytest.raises(AssertionError) as error:
        assert_convention(step, GIVEN.model, GIVEN.batch, losses, name, **options)
    return str(error.value)


def groups(cls=torch.optim.SGD, **common):
    biases = [p for p in GIVEN.model.parameters() if p.ndim == 1]
    weights = [p for p in GIVEN.model.parameters() if p.ndim > 1]
    no_decay = {"params": biases, "lr": 0.5, "weight_decay": 0.0}
    return cls([no_decay, {"params": weights, "lr": 0.25, "weight_decay": 0.125}], **common)


def test_each_group_of_parameters_has_its_line() -> None:
    said = failure(SUM, optimizer=groups(momentum=0.9))
    assert "SGD, group 0 (0.bias, 2.bias): lr 0.5 → 0.0625 (" in said
    assert "SGD, group 1 (0.weight, 2.weight): lr 0.25 → 0.03125, weight_decay 0.125 → 1.0 (" in said


def test_groups_of_another_model_are_left_out() -> None:
    other = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(GIVEN.model.parameters(), lr=0.5)
    optimizer.add_param_group({"params": list(other.parameters()), "lr": 0.75})
    said = failure(SUM, optimizer=optimizer)
    assert "SGD, group 0 (0.weight, 0.bias, 2.weight and 1 more): lr 0.5 → 0.0625" in said
    assert "0.75" not in said


def test_the_rate_that_a_scheduler_begins_with_is_told() -> None:
    optimizer = torch.optim.SGD(GIVEN.model.parameters(), lr=0.5)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0)
    said = failure(SUM, optimizer=optimizer)
    assert "initial_lr, from which a scheduler computes lr, 0.5 → 0.0625" in said


def test_a_rate_in_a_tensor_is_a_rate() -> None:
    optimizer = torch.optim.Adam(
        GIVEN.model.parameters(), lr=torch.tensor(0.5, dtype=torch.float64), weight_decay=0.25, foreach=False
    )
    assert "weight_decay 0.25 → 2.0" in failure(SUM, optimizer=optimizer)


def test_an_optimizer_without_a_law_says_so_in_its_line() -> None:
    class Mine(torch.optim.SGD):
        pass

    said = failure(SUM, optimizer=Mine(GIVEN.model.parameters(), lr=0.5))
    assert "The gradient is n times that of 'mean', 8 on this batch." in said
    assert "Mine: no law is known for" in said


UNEVEN = Units.of(8, {"elements": [1, 2, 3, 4, 5, 6, 7, 8]})


@pytest.mark.parametrize(
    ("step", "wanted", "units", "said"),
    [
        (
            SUM,
            "mean",
            None,
            "n times that of 'mean', 8 on this batch. To take the same steps on batches of this",
        ),
        (weighted([1.25] * 8), "mean", None, "10 times that of 'mean'. To take the same steps:"),
        (
            mean,
            "element-mean",
            UNEVEN,
            "Σm/n times that of 'element-mean', 4.5 on this batch. On another batch it is another number, "
            "so no constant does for all. For this one alone:",
        ),
        (
            weighted([0.3] * 8),
            "mean",
            None,
            "2.4 times that of 'mean' on this batch, and may be another multiple of it on the next. To take "
            "the same step here:",
        ),
    ],
)
def test_a_factor_is_said_with_the_batches_that_it_holds_for(step, wanted, units, said) -> None:
    assert f"The gradient is {said}" in failure(step, wanted, units=units)


def test_a_factor_that_only_this_batch_counts_is_not_sold_as_a_constant() -> None:
    """Ten positives in the mask: another batch has another number of them."""
    batch = (*GIVEN.batch, torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]] * 2))
    count = int(batch[2].sum())

    def step(model, batch):
        (losses(model, batch[:2]).sum() / batch[2].sum()).backward()

    with pytest.raises(AssertionError) as error:
        assert_convention(step, GIVEN.model, batch, lambda m, b: losses(m, b[:2]), "sum")
    assert f"The gradient is {1 / count:.6g} times that of 'sum' on this batch" in str(error.value)
