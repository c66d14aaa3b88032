"""What treats parameters differently: no column of coefficients gives it, on each block one does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from suite.algebra.units import Units
from suite.conventions import conventions
from suite.conventions.parameterwise import biases_and_others, parameterwise
from suite.engines.per_sample_gradients import per_sample_gradients
from suite.equivalence import Sizes, scale_between
from suite.errors import UsageError
from suite.loops.loop import Loop, run_reference_loop
from suite.recovery import recover
from tests.conventions.agreement import ROUNDING, network, randn

BATCH = (randn(5, 4), randn(5, 3, seed=2))
THRESHOLDS = (0.05, 2.0, 1e9)  # all is clipped, some, nothing
NAMES = ["0.weight", "0.bias", "2.weight", "2.bias"]


def losses(model, batch) -> Tensor:
    return (model(batch[0]) - batch[1]).square().sum(1)


def table(max_norm: float = 2.0) -> Units:
    return Units.of(5, {"rank": [0, 0, 1, 2, 2]}, world_size=3, max_norm=max_norm, added_to_norm=1e-6)


def left(name: str, max_norm: float) -> dict[str, Tensor]:
    """By parameter: what the reference loop leaves."""
    loop = Loop(network(), BATCH, losses, table(max_norm))
    whole = run_reference_loop(parameterwise[name].reference_loop, loop)
    sizes = [p.numel() for p in loop.parameters]
    return dict(zip(NAMES, whole.split(sizes), strict=True))


@pytest.mark.parametrize("max_norm", THRESHOLDS)
@pytest.mark.parametrize("name", [rule.name for rule in parameterwise if rule.blocks is not None])
def test_on_each_block_it_is_a_weighting_by_the_gram_matrix_of_the_block(name: str, max_norm: float) -> None:
    rule, found = parameterwise[name], left(name, max_norm)
    rows = per_sample_gradients(network(), BATCH, losses, engine="loop").reduce(np.eye(5))
    by_name = dict(zip(NAMES, rows.split([part.numel() for part in found.values()], 1), strict=True))
    for block in rule.blocks(NAMES):
        gradients = torch.cat([by_name[one] for one in block], 1).numpy()
        column = rule.column(table(max_norm), gradients @ gradients.T, block)
        expected = torch.cat([found[one] for one in block]).numpy()
        assert np.linalg.norm(column @ gradients - expected) <= ROUNDING * np.linalg.norm(expected)


@pytest.mark.parametrize("name", parameterwise.names)
def test_no_weights_of_the_samples_give_it(name: str) -> None:
    def step(model, batch):
        rule = parameterwise[name].reference_loop
        rule(Loop(model, batch, losses, table(0.05)))

    found = recover(step, network(), BATCH, losses)
    assert found.residual > 1e-3


def test_bounding_entries_and_nothing_bounded_is_the_mean() -> None:
    bounded, free = left("clip-each-entry", 0.05), left("clip-each-entry", 1e9)
    assert all(part.abs().max() <= 0.05 for part in bounded.values())
    rows = per_sample_gradients(network(), BATCH, losses, engine="loop").reduce(np.eye(5))
    assert torch.cat(list(free.values())).allclose(rows.mean(0), rtol=1e-12)


@pytest.mark.parametrize("rule", list(parameterwise), ids=lambda rule: rule.name)
def test_its_card_says_why_it_is_none_and_what_a_scale_asks_for(rule) -> None:
    card = rule.card()
    assert all(card[key] for key in ("summary", "formula", "no weighting", "law", "used by", "source"))
    assert rule.name not in conventions
    with pytest.raises(UsageError, match=f"{rule.name} is no weighting of the units .*law: "):
        scale_between("mean", rule.name, Sizes(8))


def test_groups_are_biases_and_all_else() -> None:
    assert biases_and_others(NAMES) == [["0.weight", "2.weight"], ["0.bias", "2.bias"]]
    assert biases_and_others(["a.weight"]) == [["a.weight"]]
